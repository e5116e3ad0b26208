SELECT key, value, version FROM records
WHERE collection = :collection AND key > :after AND (:before IS NULL OR key < :before)
ORDER BY key LIMIT :limit
