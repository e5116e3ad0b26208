-- What stands side by side, in order; without its salt what has been marked, or moved, or is over.
SELECT position,
       CASE WHEN available_at IS NULL AND posted_position IS NULL AND expires_at > ? THEN salt END
FROM messages NOT INDEXED
WHERE generation = ? AND position >= ? AND position <= ? ORDER BY position LIMIT ?
