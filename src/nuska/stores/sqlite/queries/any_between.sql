-- Whether anything is left between two positions, both included.
SELECT 1 FROM messages NOT INDEXED
WHERE generation = ? AND position >= ? AND position <= ? LIMIT 1
