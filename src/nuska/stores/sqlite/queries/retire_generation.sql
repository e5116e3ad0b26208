INSERT INTO old_generations (generation) VALUES (?)
