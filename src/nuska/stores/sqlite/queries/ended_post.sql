SELECT 1 FROM posts INDEXED BY posts_ending WHERE expires_at <= ? LIMIT 1
