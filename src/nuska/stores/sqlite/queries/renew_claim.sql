UPDATE claims SET ttl = ?, started_at = ?, expires_at = ? WHERE generation = ? AND claim = ?
