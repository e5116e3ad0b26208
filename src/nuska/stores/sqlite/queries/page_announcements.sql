SELECT position, salt, ttl, created_at, expires_at, available_at, poster, attributes, body
FROM announcements
WHERE generation = :generation AND position > :after AND position <= :last
      AND expires_at > :now
ORDER BY position LIMIT :limit
