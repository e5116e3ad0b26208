INSERT INTO queues (project, name, generation, base_position, last_position, metadata, relaxed,
                    version)
VALUES (?, ?, ?, ?, ?, ?, ?, 1)
RETURNING id, (id << 32) + version
