SELECT project, name FROM queues WHERE generation = ?
