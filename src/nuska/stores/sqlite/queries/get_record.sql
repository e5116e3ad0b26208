SELECT value, version FROM records WHERE collection = ? AND key = ?
