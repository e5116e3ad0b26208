-- Its messages are marked, or there are none any more.
UPDATE claims SET first = NULL, last = NULL WHERE generation = ? AND claim = ?
