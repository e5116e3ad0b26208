-- The ready message so many places behind a position.
SELECT position FROM messages INDEXED BY ready
WHERE generation = ? AND available_at IS NULL AND position >= ?
ORDER BY position LIMIT 1 OFFSET ?
