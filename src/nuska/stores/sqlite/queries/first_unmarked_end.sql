-- The earliest end of claims whose messages are not marked.
SELECT min(expires_at) FROM unmarked WHERE generation = ?
