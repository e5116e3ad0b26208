-- Messages: post, read, delete, pop.

local POSTS_KEPT = 600000  -- IDEMPOTENCY_TTL

local function earlier_post(queue, key, fingerprint)
  local record = queue.exists and redis.call('HGET', queue.posts, key)
  if not record then return nil end
  local ends, first, size, next_byte = struct.unpack('>I8I8I2', record)
  if ends <= queue.now then return nil end
  if string.sub(record, next_byte, next_byte + size - 1) ~= fingerprint then
    return {'conflict'}
  end
  return {'replayed', int(first), string.sub(record, next_byte + size)}
end

local function add_messages(keys, arguments)
  local now, promise, listing, poster, key, fingerprint = unpack(arguments, 1, 6)
  local queue = open(keys[1], now)
  if key ~= '' then
    local earlier = earlier_post(queue, key, fingerprint)
    if earlier then
      vouch(queue)
      return earlier
    end
    if #arguments < 7 then return {'added', 0} end  -- it was only asked
  end
  local messages, bodies, salts = {}, {}, {}
  local earliest = key ~= '' and queue.now + POSTS_KEPT or NEVER
  for index = 7, #arguments do
    local salt, ttl, delay, next_byte = struct.unpack('>c9I8I8', arguments[index])
    local message = {salt = salt, ttl = ttl, created = queue.now, ends = queue.now + ttl,
                     available = queue.now + delay, count = 0, claim = FREE, poster = poster}
    messages[#messages + 1], salts[#salts + 1] = message, salt
    bodies[#bodies + 1] = string.sub(arguments[index], next_byte)
    earliest = math.min(earliest, message.ends)
    if delay > 0 then earliest = math.min(earliest, message.available) end
  end
  local need = lacks_listing(queue, listing, 0) or lacks_promise(queue, earliest, promise, 0)
  if need then return need end
  if not queue.exists then create(queue, listing, '{}', '0') end
  for _, message in ipairs(messages) do
    message.posted = take_position(queue)
    message.at = member(message.posted)
  end
  store(queue, messages, bodies)
  if queue.logged then announce(queue, messages, bodies) end
  local first = messages[1] and messages[1].posted or queue.position
  if key ~= '' then
    redis.call('HSET', queue.posts, key, struct.pack('>I8I8I2', queue.now + POSTS_KEPT, first,
      #fingerprint) .. fingerprint .. table.concat(salts))
    redis.call('ZADD', queue.posts_ending, int(queue.now + POSTS_KEPT), key)
  end
  commit(queue)
  return {'added', int(first)}
end

-- One stretch of a listing. `walked` is where the next one goes on; '' when the end was reached.
local function page_messages(keys, arguments)
  local now, after, limit, hide, poster, with_claimed, with_delayed = unpack(arguments)
  local queue = open(keys[1], now)
  if not queue.exists then return {'page', int(queue.now), ''} end
  if is_stale(queue) then return {'stale'} end
  limit = tonumber(limit)
  local only_ready = with_claimed == '0' and with_delayed == '0'
  local wanted = math.min(SCAN, limit)
  if hide == '1' or not only_ready then wanted = SCAN end
  local members = redis.call('ZRANGEBYSCORE', only_ready and queue.ready or queue.all,
                             '(' .. after, '+inf', 'LIMIT', 0, wanted)
  local walked = #members == wanted and position_of(members[#members]) or ''
  local shown = {}
  for _, message in ipairs(read(queue, members)) do
    if #shown == limit then break end
    local waits = message.available > queue.now
    local held = waits and message.claim ~= FREE
    if (not waits or (held and with_claimed or with_delayed) == '1')
      and (hide == '0' or message.poster ~= poster) then
      shown[#shown + 1] = message
    end
  end
  return show(queue, shown, {'page', int(queue.now), walked})
end

local function get_messages(keys, arguments)
  local queue = open(keys[1], arguments[1])
  local found = {}
  if queue.exists then
    for index = 2, #arguments do found[#found + 1] = find_id(queue, arguments[index]) end
  end
  return show(queue, found, {'messages', int(queue.now)})
end

local function position_of_message(keys, arguments)
  local queue = open(keys[1], arguments[1])
  local message = queue.exists and find_id(queue, arguments[2])
  return {'position', message and position_of(message.at) or ''}
end

local function next_due(keys, arguments)
  local queue = open(keys[1], arguments[1])
  local due = NEVER
  if queue.exists then
    for _, part in ipairs({'delayed', 'claimed'}) do
      local first = redis.call('ZRANGEBYSCORE', queue[part], '(' .. int(queue.now), '+inf',
                               'WITHSCORES', 'LIMIT', 0, 1)
      if first[2] then due = math.min(due, tonumber(first[2])) end
    end
  end
  return {'due', due < NEVER and int(due) or ''}
end

-- Why a message must not be deleted (contract http-v2 3.5), or nil if it may.
local function refusal(queue, message, named)
  local held = is_held(message, queue.now)
  if named == '' then return held and 'claimed' or nil end
  local claim = named ~= 'malformed' and find_claim(queue, named)
  if not claim then return 'gone' end
  if not held then return 'not_claimed' end
  if message.claim ~= named then return 'other_claim' end
  return nil
end

local function delete_message(keys, arguments)
  local now, _, _, id, named = unpack(arguments)
  local queue = open(keys[1], now)
  local message = queue.exists and find_id(queue, id)
  if not message then
    vouch(queue)
    return {'missing'}
  end
  local refused = refusal(queue, message, named)
  if refused then return {refused} end
  forget(queue, {message})
  commit(queue)
  return {'deleted'}
end

-- ARGV: now, promise, listing; how many claims are named ('' = it does not matter), the claims,
-- the ids.
local function delete_messages(keys, arguments)
  local queue = open(keys[1], arguments[1])
  if not queue.exists then
    vouch(queue)
    return {'deleted'}
  end
  local named, count = {}, tonumber(arguments[4])
  local first_id = 5 + (count or 0)
  for index = 5, first_id - 1 do named[arguments[index]] = true end
  local found = {}
  for index = first_id, #arguments do
    local message = find_id(queue, arguments[index])
    if message then
      if count and not (is_held(message, queue.now) and named[message.claim]) then
        return {'refused'}
      end
      found[#found + 1] = message
    end
  end
  if #found > 0 then
    forget(queue, found)
    commit(queue)
  else
    vouch(queue)
  end
  return {'deleted'}
end

-- What a claim or a pop may take, oldest first, given to `take` until it says stop. Returns
-- whether the call looked at all it may and there is more.
local function each_available(queue, wanted, take)
  local expired = expire(queue)
  local made = make_due_ready(queue)
  if made > 0 then set(queue, 'due', '1') end
  -- Whatever becomes of the call: nobody may come before this moment now.
  if expired + made > 0 then commit(queue) end
  local rank, chunk = 0, 50
  while rank < wanted + SCAN do
    local members = redis.call('ZRANGE', queue.ready, rank, rank + chunk - 1)
    for _, message in ipairs(read(queue, members)) do
      if message.ends > queue.now and not take(message) then return false end
    end
    if #members < chunk then return false end
    rank, chunk = rank + chunk, 250
  end
  return expired == STEP
end

local function pop_messages(keys, arguments)
  local now, _, _, limit = unpack(arguments)
  local queue = open(keys[1], now)
  if not queue.exists then return {'messages', int(queue.now)} end
  limit = tonumber(limit)
  local taken = {}
  local again = each_available(queue, limit, function(message)
    if #taken == limit then return false end
    taken[#taken + 1] = message
    return #taken < limit
  end)
  local reply = show(queue, taken, {'messages', int(queue.now)})
  forget(queue, taken)
  if #taken > 0 or queue.due then commit(queue) end
  if again and #taken == 0 then return {'again'} end
  return reply
end

-- ARGV: now, promise, listing; place, head and body of each message that was popped.
local function restore_messages(keys, arguments)
  local now, promise = unpack(arguments)
  local queue = open(keys[1], now)
  if not queue.exists then return {'restored'} end
  local back, bodies, earliest = {}, {}, NEVER
  for index = 4, #arguments, 3 do
    local message = parse(arguments[index], arguments[index + 1])
    if tonumber(message.at, 16) > queue.emptied and message.ends > queue.now
      and redis.call('HEXISTS', queue.heads, message.at) == 0 then
      message.claim = FREE
      back[#back + 1], bodies[#bodies + 1] = message, arguments[index + 2]
      earliest = math.min(earliest, message.ends)
    end
  end
  if #back == 0 then return {'restored'} end
  local need = lacks_promise(queue, earliest, promise, 0)
  if need then return need end
  store(queue, back, bodies)
  commit(queue)
  return {'restored'}
end

-- How much one stretch holds. `walked` is where the next one goes on, or ''.
local function measure(keys, arguments)
  local now, after, limit = unpack(arguments)
  local queue = open(keys[1], now)
  if not queue.exists then return {'measured', 0, '0', ''} end
  local members = redis.call('ZRANGEBYSCORE', queue.all, '(' .. after, '+inf', 'LIMIT', 0, limit)
  local walked = #members == tonumber(limit) and position_of(members[#members]) or ''
  local held, size = 0, 0
  for _, message in ipairs(read(queue, members)) do
    if message.ends > queue.now then
      held = held + 1
      size = size + redis.call('HSTRLEN', queue.bodies, message.at) - SIZES
    end
  end
  return {'measured', held, int(size), walked}
end

redis.register_function('nuska_add_messages', add_messages)
redis.register_function{function_name = 'nuska_delete_message', callback = delete_message,
                        flags = {'allow-oom'}}  -- it frees memory
redis.register_function{function_name = 'nuska_delete_messages', callback = delete_messages,
                        flags = {'allow-oom'}}  -- it frees memory
redis.register_function{function_name = 'nuska_pop_messages', callback = pop_messages,
                        flags = {'allow-oom'}}  -- it frees memory
redis.register_function('nuska_restore_messages', restore_messages)
redis.register_function{function_name = 'nuska_page_messages', callback = page_messages,
                        flags = {'no-writes'}}
redis.register_function{function_name = 'nuska_get_messages', callback = get_messages,
                        flags = {'no-writes'}}
redis.register_function{function_name = 'nuska_position_of', callback = position_of_message,
                        flags = {'no-writes'}}
redis.register_function{function_name = 'nuska_next_due', callback = next_due,
                        flags = {'no-writes'}}
redis.register_function{function_name = 'nuska_measure', callback = measure,
                        flags = {'no-writes'}}
