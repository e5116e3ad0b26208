SELECT generation, position, salt, posted_position FROM messages
WHERE expires_at <= ? LIMIT ?
