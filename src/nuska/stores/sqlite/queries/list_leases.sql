-- What a delete must know of what stands side by side.
SELECT position, salt, posted_position, available_at, claim, expires_at
FROM messages NOT INDEXED
WHERE generation = ? AND position >= ? AND position <= ?
ORDER BY position LIMIT ?
