UPDATE timeline SET last_moment = ?
