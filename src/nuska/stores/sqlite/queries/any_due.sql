SELECT 1 FROM messages INDEXED BY waiting
WHERE generation = ? AND available_at IS NOT NULL AND available_at <= ? LIMIT 1
