-- What a post has just written to its queue, as it stands there.
INSERT INTO announcements (generation, position, salt, ttl, created_at, expires_at, available_at,
                           poster, attributes, body)
SELECT ?, position, salt, ttl, created_at, expires_at, available_at, poster, attributes, body
FROM messages WHERE generation = ? AND position BETWEEN ? AND ?
