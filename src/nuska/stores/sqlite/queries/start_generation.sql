UPDATE queues SET generation = ?, base_position = ?, last_position = ? WHERE id = ?
