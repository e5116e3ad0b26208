SELECT id, generation, base_position, last_position, metadata, relaxed, version
FROM queues WHERE project = ? AND name = ?
