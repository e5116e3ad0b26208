-- What a delete must know of a message.
SELECT position, salt, posted_position, available_at, claim, expires_at
FROM messages WHERE generation = ? AND position = ? AND expires_at > ?
