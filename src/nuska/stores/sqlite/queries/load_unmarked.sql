-- What there is of claims whose messages are not marked.
SELECT count(*), sum(messages), max(last), min(expires_at) FROM unmarked WHERE generation = ?
