DELETE FROM unmarked WHERE generation = ? AND first IN (
    SELECT first FROM unmarked WHERE generation = ? LIMIT ?)
RETURNING 1
