SELECT count(*) FROM messages INDEXED BY ready
WHERE generation = ? AND available_at IS NULL AND expires_at > ?
