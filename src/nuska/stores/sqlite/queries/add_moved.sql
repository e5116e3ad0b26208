INSERT OR REPLACE INTO moved (generation, posted_position, salt, position) VALUES (?, ?, ?, ?)
