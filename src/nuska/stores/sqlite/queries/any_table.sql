-- Whether anybody has made a table in this file.
SELECT EXISTS (SELECT 1 FROM sqlite_schema)
