-- Whether something stands in a log up to a position.
SELECT 1 FROM announcements WHERE generation = ? AND position <= ? LIMIT 1
