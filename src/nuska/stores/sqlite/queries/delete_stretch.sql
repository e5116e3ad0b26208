-- Everything alive between two positions, both included, that stands where it was posted.
DELETE FROM messages NOT INDEXED
WHERE generation = ? AND position >= ? AND position <= ? AND posted_position IS NULL
      AND expires_at > ?
