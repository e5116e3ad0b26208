-- Claims that hold messages.
SELECT count(DISTINCT claim) FROM messages INDEXED BY waiting
WHERE generation = :generation AND available_at > :now AND claim IS NOT NULL AND expires_at > :now
