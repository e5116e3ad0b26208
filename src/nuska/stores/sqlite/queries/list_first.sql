-- What stands first in a part of a generation, ready or not.
SELECT position, salt, posted_position, body, poster, ttl, created_at, expires_at,
       available_at, claim, claim_count, attributes, dead
FROM messages NOT INDEXED
WHERE generation = ? AND position >= ? AND position <= ?
ORDER BY position LIMIT ?
