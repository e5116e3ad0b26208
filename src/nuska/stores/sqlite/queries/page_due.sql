-- Messages that have become available and were not made ready yet.
SELECT position, salt, posted_position, body, poster, ttl, created_at, expires_at,
       NULL, NULL, claim_count, attributes, dead
FROM messages INDEXED BY waiting
WHERE generation = :generation AND available_at IS NOT NULL AND available_at <= :now
      AND position > :after AND expires_at > :now AND poster IS NOT :hide
ORDER BY position LIMIT :limit
