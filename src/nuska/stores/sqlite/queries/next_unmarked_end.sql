-- The same of claims whose messages are not marked, which may be gone.
SELECT min(expires_at) FROM unmarked WHERE generation = ? AND expires_at > ?
