-- A claim may prolong a message, never shorten it.
UPDATE messages SET expires_at = ?, ttl = ? WHERE generation = ? AND position = ?
