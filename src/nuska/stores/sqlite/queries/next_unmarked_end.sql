-- The same of claims whose messages are not marked, which may be gone.
SELECT min(expires_at) FROM claims INDEXED BY unmarked
WHERE generation = ? AND first IS NOT NULL AND expires_at > ?
