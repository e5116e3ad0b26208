SELECT count(*) FROM queues INDEXED BY queues_by_name WHERE project = ? AND NOT fenced
