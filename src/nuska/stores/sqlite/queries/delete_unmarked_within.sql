-- Claims of which nothing is left, because all between two positions is gone.
DELETE FROM unmarked WHERE generation = ? AND first >= ? AND first <= ? AND last <= ?
RETURNING messages
