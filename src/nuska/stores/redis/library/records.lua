-- Records: small documents by key, which have nothing to do with queues.
--
--   <prefix>records:{/collection}:rows   a hash: the version, of fixed size, and the value
--   <prefix>records:{/collection}:keys   a sorted set of the keys, all with the same score

local RECORD_VERSION = 24

local function version_of(row) return row and string.sub(row, 1, RECORD_VERSION) or '' end

-- ARGV: key, the version it must have ('' = there is none), the new one, the value.
local function put_record(keys, arguments)
  local key, seen, version, value = unpack(arguments)
  if version_of(redis.call('HGET', keys[1], key)) ~= seen then return {'changed'} end
  redis.call('HSET', keys[1], key, version .. value)
  redis.call('ZADD', keys[2], 0, key)
  return {'put'}
end

local function remove_record(keys, arguments)
  local key, seen = unpack(arguments)
  if seen == '' or version_of(redis.call('HGET', keys[1], key)) ~= seen then
    return {'changed'}
  end
  redis.call('HDEL', keys[1], key)
  redis.call('ZREM', keys[2], key)
  return {'removed'}
end

-- ARGV: where the range of keys begins and ends, as ZRANGE takes it, and how many.
local function page_records(keys, arguments)
  local first, last, limit = unpack(arguments)
  local reply = {'records'}
  local found = redis.call('ZRANGEBYLEX', keys[2], first, last, 'LIMIT', 0, limit)
  for index, row in ipairs(look_up(keys[1], found)) do
    if row then add_pair(reply, found[index], row) end
  end
  return reply
end

redis.register_function('nuska_put_record', put_record)
redis.register_function{function_name = 'nuska_remove_record', callback = remove_record,
                        flags = {'allow-oom'}}  -- it frees memory
redis.register_function{function_name = 'nuska_page_records', callback = page_records,
                        flags = {'no-writes'}}
