SELECT position, salt, posted_position, body, poster, ttl, created_at, expires_at,
       available_at, claim, claim_count, attributes, dead
FROM messages WHERE generation = ? AND position = ? AND expires_at > ?
