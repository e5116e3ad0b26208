-- In place of the log of that name, if it is open, under a new version.
INSERT OR REPLACE INTO logs (project, name, generation) VALUES (?, ?, ?) RETURNING version
