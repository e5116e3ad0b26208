-- Claims whose messages are not marked, those that end first before the others.
SELECT claim, started_at, expires_at, first, last FROM claims INDEXED BY unmarked
WHERE generation = ? AND first IS NOT NULL ORDER BY expires_at LIMIT ?
