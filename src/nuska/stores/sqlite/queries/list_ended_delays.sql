SELECT available_at, generation FROM delays_ending WHERE available_at <= ? LIMIT ?
