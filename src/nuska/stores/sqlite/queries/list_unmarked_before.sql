-- Claims whose messages are not marked and begin at a position or before, the last ones first.
SELECT claim, started_at, expires_at, first, last, messages FROM unmarked
WHERE generation = ? AND first <= ? ORDER BY first DESC
