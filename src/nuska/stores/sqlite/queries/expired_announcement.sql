SELECT 1 FROM announcements INDEXED BY announcements_ending WHERE expires_at <= ? LIMIT 1
