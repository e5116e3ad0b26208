SELECT position FROM arrivals WHERE queue = ? AND source = ?
