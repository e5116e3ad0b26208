-- Whether any message is in a claim.
SELECT 1 FROM messages INDEXED BY waiting
WHERE generation = ? AND available_at = ? AND claim = ? LIMIT 1
