SELECT source, position FROM arrivals WHERE queue = ?
