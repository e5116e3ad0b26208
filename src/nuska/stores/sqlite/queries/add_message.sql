-- One new message at the tail of a generation.
INSERT INTO messages (generation, position, salt, body, poster, ttl, created_at, expires_at,
                      available_at, claim_count, attributes)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?)
