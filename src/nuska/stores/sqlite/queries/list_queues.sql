-- A page of a project's queues, by name.
SELECT name, metadata, relaxed, (id << 32) + version FROM queues INDEXED BY queues_by_name
WHERE project = :project AND name > :after AND (:part IS NULL OR instr(name, :part) > 0)
ORDER BY name LIMIT :limit
