DELETE FROM arrivals WHERE queue = ?
