INSERT OR REPLACE INTO claims (generation, claim, ttl, started_at, expires_at)
VALUES (?, ?, ?, ?, ?)
