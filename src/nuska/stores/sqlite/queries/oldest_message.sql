SELECT position, salt, posted_position, created_at FROM messages
WHERE generation = ? AND expires_at > ? ORDER BY position LIMIT 1
