-- Both ends bound what is looked at: after a project's records come those of others. No text is
-- as great as a blob.
SELECT key, value, version FROM records
WHERE collection = :collection AND key > :after AND key < coalesce(:before, x'')
ORDER BY key LIMIT :limit
