SELECT generation, claim, expires_at, first IS NOT NULL FROM claims INDEXED BY claims_ending
WHERE expires_at <= ? LIMIT ?
