-- The highest position that was committed in a log and its queue.
SELECT max(coalesce((SELECT max(position) FROM announcements WHERE generation = :log), 0),
           coalesce((SELECT max(position) FROM messages WHERE generation = :generation), 0))
