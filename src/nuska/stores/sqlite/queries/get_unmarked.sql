-- A claim whose messages are not marked.
SELECT u.claim, u.started_at, u.expires_at, u.first, u.last, u.messages
FROM claims AS c
CROSS JOIN unmarked AS u ON u.generation = c.generation AND u.first = c.first AND u.claim = c.claim
WHERE c.generation = ? AND c.claim = ?
