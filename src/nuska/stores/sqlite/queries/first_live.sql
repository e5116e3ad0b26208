-- Of a window of ready messages: the first that has not expired, the last of all, how many.
SELECT min(CASE WHEN expires_at > :now THEN position END), max(position), count(*)
FROM (SELECT position, expires_at FROM messages INDEXED BY ready
      WHERE generation = :generation AND available_at IS NULL AND position >= :first
      ORDER BY position LIMIT :window)
