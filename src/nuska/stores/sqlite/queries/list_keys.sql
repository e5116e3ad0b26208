-- What stands side by side.
SELECT position, salt FROM messages NOT INDEXED
WHERE generation = ? AND position >= ? AND position <= ? ORDER BY position LIMIT ?
