DELETE FROM announcements WHERE (generation, position) IN (
    SELECT generation, position FROM announcements INDEXED BY announcements_ending
    WHERE expires_at <= ? LIMIT ?)
RETURNING 1
