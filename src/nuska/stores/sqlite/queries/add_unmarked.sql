INSERT INTO unmarked (generation, claim, started_at, expires_at, first, last, messages)
VALUES (?, ?, ?, ?, ?, ?, ?)
