UPDATE queues SET last_position = ? WHERE id = ?
