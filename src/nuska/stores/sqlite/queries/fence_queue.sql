UPDATE queues SET fenced = ? WHERE id = ?
