DELETE FROM posts WHERE (queue, key) IN (
    SELECT queue, key FROM posts INDEXED BY posts_ending WHERE expires_at <= ? LIMIT ?)
RETURNING 1
