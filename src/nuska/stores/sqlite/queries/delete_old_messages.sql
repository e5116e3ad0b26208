DELETE FROM messages WHERE generation = ? AND position IN (
    SELECT position FROM messages WHERE generation = ? LIMIT ?)
RETURNING 1
