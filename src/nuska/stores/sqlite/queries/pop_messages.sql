-- Take and delete the oldest ready messages. Rows come back in any order.
DELETE FROM messages
WHERE generation = :generation AND position IN (
    SELECT position FROM messages INDEXED BY ready
    WHERE generation = :generation AND available_at IS NULL AND expires_at > :now
          AND position BETWEEN :first AND :last
    ORDER BY position LIMIT :limit)
RETURNING position, salt, posted_position, body, poster, ttl, created_at, expires_at,
          NULL, NULL, claim_count, attributes, dead
