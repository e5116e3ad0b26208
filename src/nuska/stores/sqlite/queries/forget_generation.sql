DELETE FROM old_generations WHERE generation = ?
