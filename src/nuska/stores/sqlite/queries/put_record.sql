INSERT OR REPLACE INTO records (collection, key, value, version) VALUES (?, ?, ?, ?)
