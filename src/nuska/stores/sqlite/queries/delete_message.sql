DELETE FROM messages WHERE generation = ? AND position = ?
