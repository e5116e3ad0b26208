-- The claim whose messages are not marked that begins at a position or next before it.
SELECT claim, started_at, expires_at, first, last, messages FROM unmarked
WHERE generation = ? AND first <= ? ORDER BY first DESC LIMIT 1
