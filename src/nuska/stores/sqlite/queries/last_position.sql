-- The last position at which anything stands.
SELECT max(position) FROM messages WHERE generation = ?
