-- The same where they stand close together: row by row, without an index that changes
-- meanwhile. The last parameter is when the claim was made: what had expired is not of it.
UPDATE messages NOT INDEXED SET available_at = ?, claim = ?, claim_count = claim_count + 1
WHERE generation = ? AND position >= ? AND position <= ? AND available_at IS NULL
      AND expires_at > ?
