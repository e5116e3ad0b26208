INSERT OR REPLACE INTO posts (queue, key, fingerprint, first_position, salts, expires_at)
VALUES (?, ?, ?, ?, ?, ?)
