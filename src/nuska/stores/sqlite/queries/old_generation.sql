SELECT generation FROM old_generations LIMIT 1
