SELECT generation, version FROM logs WHERE project = ? AND name = ?
