-- Make the messages of a claim ready, at the positions they never left. The first parameter
-- is subtracted from their claim counts: 1 when the claim never reached its caller, else 0.
UPDATE messages SET available_at = NULL, claim = NULL, claim_count = claim_count - ?
WHERE generation = ? AND position IN (
    SELECT position FROM messages INDEXED BY waiting
    WHERE generation = ? AND available_at = ? AND claim = ?)
RETURNING expires_at, position
