INSERT OR REPLACE INTO arrivals (queue, source, position) VALUES (?, ?, ?)
