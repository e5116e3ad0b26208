-- Claims whose messages are not marked, in the order of their messages.
SELECT claim, started_at, expires_at, first, last FROM claims INDEXED BY unmarked
WHERE generation = ? AND first IS NOT NULL ORDER BY first LIMIT ?
