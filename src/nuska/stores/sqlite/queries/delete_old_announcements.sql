DELETE FROM announcements WHERE generation = ? AND position IN (
    SELECT position FROM announcements WHERE generation = ? LIMIT ?)
RETURNING 1
