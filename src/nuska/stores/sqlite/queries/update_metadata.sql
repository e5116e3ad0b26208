UPDATE queues SET metadata = ?, relaxed = ?, version = version + 1 WHERE id = ?
