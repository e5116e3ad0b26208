-- Whether expired messages wait to be swept, in any queue.
SELECT 1 FROM messages INDEXED BY ending WHERE expires_at <= ? LIMIT 1
