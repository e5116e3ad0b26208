SELECT generation, claim, expires_at FROM claims INDEXED BY claims_ending
WHERE expires_at <= ? LIMIT ?
