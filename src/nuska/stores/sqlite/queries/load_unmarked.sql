-- What there is of claims whose messages are not marked.
SELECT count(*), sum(last - first + 1), max(last), min(expires_at) FROM claims INDEXED BY unmarked
WHERE generation = ? AND first IS NOT NULL
