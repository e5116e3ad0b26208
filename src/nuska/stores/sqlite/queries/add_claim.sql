INSERT INTO claims (generation, claim, ttl, started_at, expires_at, first)
VALUES (?, ?, ?, ?, ?, ?)
