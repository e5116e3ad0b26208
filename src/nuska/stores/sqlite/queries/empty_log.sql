UPDATE logs SET generation = ? WHERE project = ? AND name = ?
