DELETE FROM records WHERE collection = ? AND key = ?
