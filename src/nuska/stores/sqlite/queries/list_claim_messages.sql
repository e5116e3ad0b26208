-- The messages of a claim: they wait until its end and carry its id.
SELECT position, salt, posted_position, body, poster, ttl, created_at, expires_at,
       available_at, claim, claim_count, attributes, dead
FROM messages INDEXED BY waiting
WHERE generation = ? AND available_at = ? AND claim = ? AND expires_at > ?
ORDER BY position
