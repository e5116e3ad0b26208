-- A page of a project's queues, by name. A pair of the metadata can be asked for; whether its
-- type is right as well, the caller sees.
SELECT name, metadata, relaxed, (id << 32) + version FROM queues INDEXED BY queues_by_name
WHERE project = :project AND NOT fenced AND name > :after AND (:part IS NULL OR instr(name, :part) > 0)
      AND (:key IS NULL OR EXISTS (
          SELECT 1 FROM json_each(CAST(metadata AS TEXT)) AS pair
          WHERE pair.key = :key AND pair.atom = :value))
ORDER BY name LIMIT :limit
