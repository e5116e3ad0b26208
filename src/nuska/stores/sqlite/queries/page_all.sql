-- A listing that includes claimed or delayed messages, by position.
SELECT position, salt, posted_position, body, poster, ttl, created_at, expires_at,
       available_at, claim, claim_count, attributes, dead
FROM messages
WHERE generation = :generation AND position > :after AND expires_at > :now
      AND poster IS NOT :hide
      AND (available_at IS NULL OR available_at <= :now
           OR (CASE WHEN claim IS NULL THEN :delayed ELSE :claimed END))
ORDER BY position LIMIT :limit
