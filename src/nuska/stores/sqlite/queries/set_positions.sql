UPDATE queues SET base_position = ?, last_position = ? WHERE id = ?
