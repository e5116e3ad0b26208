-- A live claim.
SELECT ttl, started_at, expires_at FROM claims
WHERE generation = ? AND claim = ? AND expires_at > ?
