DELETE FROM logs WHERE project = ? AND name = ?
