-- The earliest moment at which a waiting message that will still live becomes available.
SELECT available_at FROM messages INDEXED BY waiting
WHERE generation = ? AND available_at > ? AND expires_at > available_at
ORDER BY available_at LIMIT 1
