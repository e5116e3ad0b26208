-- Claims whose messages are not marked, in the order of their messages.
SELECT claim, started_at, expires_at, first, last, messages FROM unmarked
WHERE generation = ? ORDER BY first LIMIT ?
