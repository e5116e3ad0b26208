-- Waiting messages whose moment has come, the earliest first, a bounded number.
UPDATE messages SET available_at = NULL, claim = NULL
WHERE generation = ? AND position IN (
    SELECT position FROM messages INDEXED BY waiting
    WHERE generation = ? AND available_at IS NOT NULL AND available_at <= ?
    ORDER BY available_at LIMIT ?)
RETURNING expires_at, position
