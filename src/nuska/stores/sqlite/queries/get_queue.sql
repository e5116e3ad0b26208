-- A version is never met again, not by a later queue of the name either: the row's number
-- leads it.
SELECT id, generation, base_position, last_position, metadata, relaxed, (id << 32) + version,
       fenced, epoch,
       (SELECT logs.generation FROM logs
        WHERE logs.project = queues.project AND logs.name = queues.name)
FROM queues WHERE project = ? AND name = ?
