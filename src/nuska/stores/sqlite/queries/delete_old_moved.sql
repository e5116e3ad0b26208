DELETE FROM moved WHERE (generation, posted_position, salt) IN (
    SELECT generation, posted_position, salt FROM moved WHERE generation = ? LIMIT ?)
RETURNING 1
