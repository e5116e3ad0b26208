-- The stretch of a claim whose messages are not marked.
SELECT claim, started_at, expires_at, first, last FROM claims
WHERE generation = ? AND claim = ? AND first IS NOT NULL
