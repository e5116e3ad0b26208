-- Mark one message as claimed: the way taken when some candidates may be dead-lettered.
UPDATE messages SET available_at = ?, claim = ?, claim_count = claim_count + 1
WHERE generation = ? AND position = ?
