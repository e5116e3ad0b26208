INSERT OR IGNORE INTO delays_ending (available_at, generation) VALUES (?, ?)
