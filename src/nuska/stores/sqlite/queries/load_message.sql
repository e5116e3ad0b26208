-- A message as another store held it, in place of what stands there.
INSERT OR REPLACE INTO messages (generation, position, salt, posted_position, body, poster, ttl,
    created_at, expires_at, available_at, claim, claim_count, attributes, dead)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
