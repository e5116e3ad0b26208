UPDATE queues SET metadata = ?, relaxed = ?, version = ? WHERE id = ?
