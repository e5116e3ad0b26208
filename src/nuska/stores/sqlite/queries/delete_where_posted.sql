-- A message by its id, if it still stands where it was posted.
DELETE FROM messages
WHERE generation = ? AND position = ? AND salt = ? AND posted_position IS NULL AND expires_at > ?
