-- Whether more than so many messages have become available and were not made ready yet.
SELECT 1 FROM messages INDEXED BY waiting
WHERE generation = ? AND available_at IS NOT NULL AND available_at <= ? LIMIT 1 OFFSET ?
