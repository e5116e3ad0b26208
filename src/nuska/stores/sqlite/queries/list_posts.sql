SELECT key, fingerprint, first_position, salts, expires_at FROM posts
WHERE queue = ? AND key > ? ORDER BY key LIMIT ?
