-- A version is never met again, not by a later queue of the name either: the row's number
-- leads it.
SELECT id, generation, base_position, last_position, metadata, relaxed, (id << 32) + version,
       fenced, epoch
FROM queues WHERE project = ? AND name = ?
