SELECT max(coalesce((SELECT max(generation) FROM queues), 0),
           coalesce((SELECT max(generation) FROM old_generations), 0),
           coalesce((SELECT max(generation) FROM logs), 0))
