-- Mark the ready messages of a stretch as claimed, all that are alive.
UPDATE messages INDEXED BY ready SET available_at = ?, claim = ?, claim_count = claim_count + 1
WHERE generation = ? AND available_at IS NULL AND position >= ? AND position <= ?
      AND expires_at > ?
