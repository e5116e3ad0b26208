-- Ready messages after a position and up to another, for a claim or a pop.
SELECT position, salt, posted_position, body, poster, ttl, created_at, expires_at,
       available_at, claim, claim_count, attributes, dead
FROM messages INDEXED BY ready
WHERE generation = ? AND available_at IS NULL AND position > ? AND position <= ?
      AND expires_at > ?
ORDER BY position LIMIT ?
