-- Whether the index goes on behind a window.
SELECT 1 FROM messages INDEXED BY ready
WHERE generation = ? AND available_at IS NULL AND position > ?
ORDER BY position LIMIT 1 OFFSET ?
