SELECT position FROM moved WHERE generation = ? AND posted_position = ? AND salt = ?
