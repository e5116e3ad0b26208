SELECT claim, ttl, started_at, expires_at FROM claims
WHERE generation = ? AND claim > ? ORDER BY claim LIMIT ?
