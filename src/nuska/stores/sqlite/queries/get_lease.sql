-- What a delete must know of a message.
SELECT salt, posted_position, available_at, claim
FROM messages WHERE generation = ? AND position = ? AND expires_at > ?
