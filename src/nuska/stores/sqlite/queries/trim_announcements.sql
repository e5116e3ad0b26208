DELETE FROM announcements WHERE generation = ? AND position IN (
    SELECT position FROM announcements WHERE generation = ? AND position <= ?
    ORDER BY position LIMIT ?)
RETURNING 1
