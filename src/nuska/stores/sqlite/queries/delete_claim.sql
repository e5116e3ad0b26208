DELETE FROM claims WHERE generation = ? AND claim = ?
