-- Claimed, delayed, and due but not made ready yet.
SELECT coalesce(sum(available_at > :now AND claim IS NOT NULL), 0),
       coalesce(sum(available_at > :now AND claim IS NULL), 0),
       coalesce(sum(available_at <= :now), 0)
FROM messages INDEXED BY waiting
WHERE generation = :generation AND available_at IS NOT NULL AND expires_at > :now
