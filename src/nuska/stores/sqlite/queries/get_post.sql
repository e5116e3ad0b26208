SELECT fingerprint, first_position, salts FROM posts WHERE queue = ? AND key = ? AND expires_at > ?
