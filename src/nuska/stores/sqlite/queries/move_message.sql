-- A dead letter at the tail of its queue; nothing can stand there already.
INSERT INTO messages (generation, position, salt, posted_position, body, poster, ttl,
    created_at, expires_at, available_at, claim, claim_count, attributes, dead)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, NULL, ?, ?, ?)
