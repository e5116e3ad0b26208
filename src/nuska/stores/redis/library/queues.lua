-- Queues: create, metadata, delete, purge, statistics.

local function create_queue(keys, arguments)
  local now, promise, listing, metadata, relaxed = unpack(arguments)
  local queue = open(keys[1], now)
  if queue.exists then
    vouch(queue)
    return {'exists'}
  end
  local need = lacks_listing(queue, listing, 0)
  if need then return need end
  create(queue, listing, metadata, relaxed)
  commit(queue)
  return {'created'}
end

local function replace_metadata(keys, arguments)
  local now, _, _, version, metadata, relaxed = unpack(arguments)
  local queue = open(keys[1], now)
  if not queue.exists or queue.version ~= tonumber(version) then return {'refused'} end
  set(queue, 'metadata', metadata)
  set(queue, 'relaxed', relaxed)
  set(queue, 'version', take_serial(queue))
  commit(queue)
  return {'replaced'}
end

local function retire(queue)
  redis.call('SADD', queue.old, 'g' .. int(queue.generation))
end

-- Its positions do not start again, and its outbox goes on.
local function remove(queue)
  retire(queue)
  redis.call('SADD', queue.old, 'l' .. int(queue.life))
  if queue.listing then set(queue, 'unlist', queue.listing) end
  for _, field in ipairs({'listing', 'life', 'generation', 'emptied', 'version', 'metadata',
                          'relaxed', 'due', 'fence', 'epoch'}) do
    drop(queue, field)
  end
  queue.exists = false
end

local function purge_queue(keys, arguments)
  local now, promise = unpack(arguments)
  local queue = open(keys[1], now)
  if not queue.exists then
    vouch(queue)
    return {'missing'}
  end
  local need = lacks_promise(queue, queue.now, promise, 0)
  if need then return need end
  retire(queue)
  set(queue, 'generation', take_serial(queue))
  set(queue, 'emptied', queue.position)
  commit(queue)
  return {'purged'}
end

local function delete_queue(keys, arguments)
  local now, promise = unpack(arguments)
  local queue = open(keys[1], now)
  if not queue.exists then
    vouch(queue)
    return {'missing'}
  end
  local need = lacks_promise(queue, queue.now, promise, 0)
  if need then return need end
  remove(queue)
  commit(queue)
  return {'deleted', queue.unlist}
end

local function get_stats(keys, arguments)
  local queue = open(keys[1], arguments[1])
  if not queue.exists then return {'stats', 0, 0, 0} end
  if is_stale(queue) then return {'stale'} end
  local reply = {'stats', redis.call('ZCARD', queue.ready), redis.call('ZCARD', queue.delayed),
                 redis.call('ZCARD', queue.claimed)}
  for _, rank in ipairs({0, -1}) do
    local at = redis.call('ZRANGE', queue.all, rank, rank)[1]
    if at then
      reply[#reply + 1] = at
      reply[#reply + 1] = redis.call('HGET', queue.heads, at)
    end
  end
  return reply
end

redis.register_function('nuska_create_queue', create_queue)
redis.register_function('nuska_replace_metadata', replace_metadata)
redis.register_function{function_name = 'nuska_purge_queue', callback = purge_queue,
                        flags = {'allow-oom'}}  -- it frees memory
redis.register_function{function_name = 'nuska_delete_queue', callback = delete_queue,
                        flags = {'allow-oom'}}  -- it frees memory
redis.register_function{function_name = 'nuska_get_stats', callback = get_stats,
                        flags = {'no-writes'}}
redis.register_function{function_name = 'nuska_version',
                        callback = function() return VERSION end, flags = {'no-writes'}}
