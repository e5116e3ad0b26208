-- An announcement as another store held it, in place of what stands there.
INSERT OR REPLACE INTO announcements (generation, position, salt, ttl, created_at, expires_at,
                                      available_at, poster, attributes, body)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
