-- Claims, and the dead-lettering that happens inside them (D8).

-- The body of a dead letter: attributes and JSON stay, the reason is new.
local function with_reason(blob, at, count, origin, reason)
  local attributes, dead, next_byte = struct.unpack('>I4I4', blob)
  local size = attributes == 4294967295 and 0 or attributes
  local kept = string.sub(blob, next_byte, next_byte + size - 1)
  local body = string.sub(blob, next_byte + size + dead)
  local why = struct.pack('>I8I4I2', at, count, #origin) .. origin .. reason
  return struct.pack('>I4I4', attributes, #why) .. kept .. why .. body
end

-- What `buried` will be in the dead-letter queue, and their bodies.
local function dead_letters(queue, buried, ttl, origin, reason)
  local members, letters = {}, {}
  for index, message in ipairs(buried) do members[index] = message.at end
  local bodies = look_up(queue.bodies, members)
  for index, message in ipairs(buried) do
    letters[index] = {posted = message.posted, salt = message.salt, created = message.created,
                      ttl = ttl or message.ttl, ends = ttl and queue.now + ttl or message.ends,
                      available = queue.now, count = message.count, claim = FREE,
                      poster = message.poster}
    bodies[index] = with_reason(bodies[index], queue.now, message.count, origin, reason)
  end
  return letters, bodies
end

local function earliest_end(messages)
  local earliest = NEVER
  for _, message in ipairs(messages) do earliest = math.min(earliest, message.ends) end
  return earliest
end

local function append(queue, letters, bodies)
  for _, letter in ipairs(letters) do letter.at = member(take_position(queue)) end
  store(queue, letters, bodies)
end

-- Keep letters for a queue in another hash slot until they have arrived there.
local function send_away(queue, address, letters, bodies)
  local order, rows = {}, {}
  for index, letter in ipairs(letters) do
    local place = take_serial(queue)
    letter.at = member(letter.posted)
    local head = pack(letter)
    add_pair(order, int(place), member(place))
    add_pair(rows, member(place), struct.pack('>I4I4', #address, #head) .. address .. head
      .. bodies[index])
  end
  send('ZADD', queue.outbox, order)
  send('HSET', queue.outbox_rows, rows)
end

-- ARGV: now; promise and listing of the queue; those of the dead letters' queue; claim, limit,
-- ttl, grace; the most claims ('' = no rule), most dead letters, their ttl ('' = keep), origin,
-- reason, and the address of a dead-letter queue in another slot ('' = it is KEYS[2]).
local function create_claim(keys, arguments)
  local now, promise, _, dead_promise, dead_listing, claim, limit, ttl, grace,
    most_claims, most_dead, dead_ttl, origin, reason, address = unpack(arguments)
  local queue = open(keys[1], now)
  if not queue.exists then return {'claimed', int(queue.now), 0} end
  local target
  if most_claims ~= '' and address == '' then
    target = keys[2] == keys[1] and queue or open(keys[2], queue.now)
    queue.now = math.max(queue.now, target.now)  -- before anything is chosen: it may have ended
    target.now = queue.now
  end
  limit, ttl, grace = tonumber(limit), tonumber(ttl), tonumber(grace)
  most_claims, most_dead, dead_ttl = tonumber(most_claims), tonumber(most_dead), tonumber(dead_ttl)

  local taken, buried = {}, {}
  local again = limit > 0 and each_available(queue, limit, function(message)
    if not most_claims or message.count < most_claims then
      taken[#taken + 1] = message
      return #taken < limit
    end
    if #buried == most_dead then return false end
    buried[#buried + 1] = message
    return true
  end)
  if #taken == 0 and #buried == 0 then
    if queue.due then commit(queue) end
    return again and {'again'} or {'claimed', int(queue.now), 0}
  end

  if #buried == 0 then target = nil end
  local letters, bodies = dead_letters(queue, buried, dead_ttl, origin, reason)
  local need
  if target then
    need = lacks_listing(target, dead_listing, 1)
      or lacks_promise(target, earliest_end(letters), dead_promise, 1)
  elseif #buried > 0 then
    need = lacks_promise(queue, queue.now, promise, 0)
  end
  if not need and #taken > 0 then need = lacks_promise(queue, queue.now + ttl, promise, 0) end
  if need then return need end

  if #buried > 0 then
    forget(queue, buried)
    if target then
      if not target.exists then create(target, dead_listing, '{}', '0') end
      append(target, letters, bodies)
      commit(target)
    else
      send_away(queue, address, letters, bodies)
    end
  end
  for _, message in ipairs(taken) do message.count = message.count + 1 end
  if #taken > 0 then hold(queue, claim, taken, ttl, grace) end
  commit(queue)
  return show(queue, taken, {'claimed', int(queue.now), #buried})
end

local function get_claim(keys, arguments)
  local queue = open(keys[1], arguments[1])
  local claim = queue.exists and find_claim(queue, arguments[2])
  if not claim then return {'missing'} end
  return show(queue, claim.held, {'claim', int(queue.now), int(claim.ttl), int(claim.started),
                                  int(claim.ends)})
end

local function renew_claim(keys, arguments)
  local now, promise, _, id, ttl, grace = unpack(arguments)
  local queue = open(keys[1], now)
  local claim = queue.exists and find_claim(queue, id)
  if not claim then return {'missing'} end
  local need = lacks_promise(queue, queue.now + tonumber(ttl), promise, 0)
  if need then return need end
  hold(queue, id, claim.held, tonumber(ttl), tonumber(grace))
  commit(queue)
  return {'renewed'}
end

local function release_claim(keys, arguments)
  local now, _, _, id, uncount = unpack(arguments)
  local queue = open(keys[1], now)
  local claim = queue.exists and find_claim(queue, id)
  if not claim then
    vouch(queue)
    return {'released', 0}
  end
  local heads, ready, members = {}, {}, {}
  for index, message in ipairs(claim.held) do
    message.claim, message.available = FREE, queue.now
    if uncount == '1' then message.count = message.count - 1 end
    add_pair(heads, message.at, pack(message))
    add_pair(ready, position_of(message.at), message.at)
    members[index] = message.at
  end
  send('ZREM', queue.claimed, members)
  send('ZADD', queue.ready, ready)
  send('HSET', queue.heads, heads)
  redis.call('HDEL', queue.claims, id)
  redis.call('ZREM', queue.claims_ending, id)
  commit(queue)
  return {'released', #claim.held}
end

-- Live claims that hold messages, among the `limit` that end next after the `first`.
local function count_claims(keys, arguments)
  local now, first, limit = unpack(arguments)
  local queue = open(keys[1], now)
  if not queue.exists then return {'counted', 0, 0} end
  local claims = redis.call('ZRANGEBYSCORE', queue.claims_ending, '(' .. int(queue.now), '+inf',
                            'LIMIT', first, limit)
  local holding = 0
  for _, claim in ipairs(claims) do
    local live = find_claim(queue, claim)
    if live and #live.held > 0 then holding = holding + 1 end
  end
  return {'counted', holding, #claims}
end

redis.register_function('nuska_create_claim', create_claim)
redis.register_function('nuska_renew_claim', renew_claim)
redis.register_function{function_name = 'nuska_release_claim', callback = release_claim,
                        flags = {'allow-oom'}}  -- it frees memory
redis.register_function{function_name = 'nuska_get_claim', callback = get_claim,
                        flags = {'no-writes'}}
redis.register_function{function_name = 'nuska_count_claims', callback = count_claims,
                        flags = {'no-writes'}}
