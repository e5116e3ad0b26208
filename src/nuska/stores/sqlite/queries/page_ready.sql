-- The default listing, within a window of index entries so that its cost is bounded.
SELECT m.position, m.salt, m.posted_position, m.body, m.poster, m.ttl, m.created_at,
       m.expires_at, m.available_at, m.claim, m.claim_count, m.attributes, m.dead
FROM (SELECT position FROM (
          SELECT position, expires_at, poster FROM messages INDEXED BY ready
          WHERE generation = :generation AND available_at IS NULL AND position > :after
          ORDER BY position LIMIT :window)
      WHERE expires_at > :now AND poster IS NOT :hide
      ORDER BY position LIMIT :limit) AS p
CROSS JOIN messages AS m ON m.generation = :generation AND m.position = p.position
ORDER BY p.position
