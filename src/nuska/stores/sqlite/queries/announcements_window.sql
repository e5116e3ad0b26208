-- The announcement so many places behind a position.
SELECT position FROM announcements WHERE generation = ? AND position > ?
ORDER BY position LIMIT 1 OFFSET ?
