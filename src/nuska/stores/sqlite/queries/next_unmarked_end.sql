-- The same of claims whose messages are not marked, which may be gone.
SELECT expires_at FROM claims INDEXED BY unmarked
WHERE generation = ? AND first IS NOT NULL AND expires_at > ? ORDER BY expires_at LIMIT 1
