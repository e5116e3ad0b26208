DELETE FROM claims WHERE generation = ? AND claim IN (
    SELECT claim FROM claims WHERE generation = ? LIMIT ?)
RETURNING 1
