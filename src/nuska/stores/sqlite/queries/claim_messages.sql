-- Mark the oldest ready messages as claimed; one statement, so nothing can come between
-- choosing and marking. Rows come back in any order.
UPDATE messages
SET available_at = :claim_end, claim = :claim, claim_count = claim_count + 1
WHERE generation = :generation AND position IN (
    SELECT position FROM messages INDEXED BY ready
    WHERE generation = :generation AND available_at IS NULL AND expires_at > :now
          AND position BETWEEN :first AND :last
    ORDER BY position LIMIT :limit)
RETURNING position, salt, posted_position, body, poster, ttl, created_at, expires_at,
          available_at, claim, claim_count, attributes, dead
