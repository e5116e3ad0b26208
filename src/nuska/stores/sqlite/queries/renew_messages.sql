-- Move the messages of a claim to its new end.
UPDATE messages SET available_at = ?
WHERE generation = ? AND position IN (
    SELECT position FROM messages INDEXED BY waiting
    WHERE generation = ? AND available_at = ? AND claim = ?)
