-- Its messages are marked.
DELETE FROM unmarked WHERE generation = ? AND first = ?
