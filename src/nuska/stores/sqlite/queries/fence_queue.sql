UPDATE queues SET fenced = ?, epoch = ? WHERE id = ?
