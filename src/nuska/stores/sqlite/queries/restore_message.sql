-- Undo a pop: everything as it was.
INSERT OR IGNORE INTO messages (generation, position, salt, posted_position, body, poster, ttl,
    created_at, expires_at, available_at, claim, claim_count, attributes, dead)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, NULL, ?, ?, ?)
