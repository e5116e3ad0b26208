DELETE FROM delays_ending WHERE available_at = ? AND generation = ?
