SELECT 1 FROM unmarked WHERE generation = ? LIMIT 1
