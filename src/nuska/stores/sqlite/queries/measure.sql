-- What a stretch of a queue holds. The length of a body stands before it: none is read.
SELECT count(*), max(position), coalesce(sum(expires_at > :now), 0),
       coalesce(sum(CASE WHEN expires_at > :now THEN size END), 0)
FROM (SELECT position, expires_at, length(body) + coalesce(length(attributes), 0) AS size
      FROM messages WHERE generation = :generation AND position > :after
      ORDER BY position LIMIT :limit)
