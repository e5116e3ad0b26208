-- Mark one message as claimed.
UPDATE messages SET available_at = ?, claim = ?, claim_count = claim_count + 1
WHERE generation = ? AND position = ?
