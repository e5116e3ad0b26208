-- Everything that stands between two positions, both included.
DELETE FROM messages NOT INDEXED WHERE generation = ? AND position >= ? AND position <= ?
