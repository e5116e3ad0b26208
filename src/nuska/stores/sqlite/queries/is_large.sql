-- Whether a generation has more than so many messages.
SELECT 1 FROM messages WHERE generation = ? LIMIT 1 OFFSET ?
