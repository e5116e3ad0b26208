-- Messages: how they are packed, and how they change their state.

local SIZES = 8  -- bytes of a body before its attributes

local function parse(at, head)
  local posted, salt, ttl, created, ends, available, count, claim, next_byte =
    struct.unpack(HEAD, head)
  return {at = at, posted = posted, salt = salt, ttl = ttl, created = created, ends = ends,
          available = available, count = count, claim = claim,
          poster = string.sub(head, next_byte)}
end

local function pack(message)
  return struct.pack(HEAD, message.posted, message.salt, message.ttl, message.created,
                     message.ends, message.available, message.count, message.claim)
    .. message.poster
end

local function moved_key(message) return member(message.posted) .. message.salt end

local function has_moved(message) return member(message.posted) ~= message.at end

local function is_held(message, now) return message.claim ~= FREE and message.available > now end

local function waits_until(message)
  if message.ends <= message.available then return int(NEVER) end
  return int(message.available)
end

local function add_pair(list, one, two)
  list[#list + 1] = one
  list[#list + 1] = two
end

-- Write messages that are not there yet; `bodies` is aligned with `messages`.
local function store(queue, messages, bodies)
  local all, ready, delayed, claimed, ending, heads, rows, moved = {}, {}, {}, {}, {}, {}, {}, {}
  for index, message in ipairs(messages) do
    local at, place = message.at, position_of(message.at)
    add_pair(all, place, at)
    add_pair(ending, int(message.ends), at)
    add_pair(heads, at, pack(message))
    add_pair(rows, at, bodies[index])
    if message.available <= queue.now then
      add_pair(ready, place, at)
    elseif message.claim == FREE then
      add_pair(delayed, waits_until(message), at)
    else
      add_pair(claimed, waits_until(message), at)
    end
    if has_moved(message) then add_pair(moved, moved_key(message), at) end
  end
  send('ZADD', queue.all, all)
  send('ZADD', queue.ready, ready)
  send('ZADD', queue.delayed, delayed)
  send('ZADD', queue.claimed, claimed)
  send('ZADD', queue.ending, ending)
  send('HSET', queue.heads, heads)
  send('HSET', queue.bodies, rows)
  send('HSET', queue.moved, moved)
end

local function forget(queue, messages)
  local members, moved = {}, {}
  for _, message in ipairs(messages) do
    members[#members + 1] = message.at
    if has_moved(message) then moved[#moved + 1] = moved_key(message) end
  end
  for _, part in ipairs({'all', 'ready', 'delayed', 'claimed', 'ending'}) do
    send('ZREM', queue[part], members)
  end
  send('HDEL', queue.heads, members)
  send('HDEL', queue.bodies, members)
  send('HDEL', queue.moved, moved)
end

local function read(queue, members)
  local messages = {}
  for index, head in ipairs(look_up(queue.heads, members)) do
    if head then messages[#messages + 1] = parse(members[index], head) end
  end
  return messages
end

-- Remove at most `STEP` messages that have ended; returns how many.
local function expire(queue)
  local ended = redis.call('ZRANGEBYSCORE', queue.ending, '-inf', int(queue.now),
                           'LIMIT', 0, STEP)
  if #ended > 0 then forget(queue, read(queue, ended)) end
  return #ended
end

-- Let at most `STEP` of those whose delay or claim is over stand in line again.
local function make_due_ready(queue)
  local made = 0
  for _, part in ipairs({'delayed', 'claimed'}) do
    local due = redis.call('ZRANGEBYSCORE', queue[part], '-inf', int(queue.now),
                           'LIMIT', 0, STEP - made)
    local ready = {}
    for _, at in ipairs(due) do add_pair(ready, position_of(at), at) end
    send('ZREM', queue[part], due)
    send('ZADD', queue.ready, ready)
    made = made + #due
  end
  return made
end

-- Whether listing and counting must wait until something has been cleared away.
local function is_stale(queue)
  for _, part in ipairs({'ending', 'delayed', 'claimed'}) do
    local first = redis.call('ZRANGE', queue[part], 0, 0, 'WITHSCORES')
    if first[2] and tonumber(first[2]) <= queue.now then return true end
  end
  return false
end

-- Messages in a form the driver reads: place, head and body of each, after what is in `reply`.
local function show(queue, messages, reply)
  local members = {}
  for index, message in ipairs(messages) do members[index] = message.at end
  local bodies = look_up(queue.bodies, members)
  for index, message in ipairs(messages) do
    reply[#reply + 1] = message.at
    reply[#reply + 1] = pack(message)
    reply[#reply + 1] = bodies[index]
  end
  return reply
end

-- The message with an id, given as the place in it and its salt, also when it has expired.
local function locate(queue, at, salt)
  local head = redis.call('HGET', queue.heads, at)
  local message = head and parse(at, head)
  if not message or message.salt ~= salt or has_moved(message) then
    at = redis.call('HGET', queue.moved, at .. salt)
    head = at and redis.call('HGET', queue.heads, at)
    message = head and parse(at, head)
  end
  return message or nil
end

local function locate_id(queue, id)
  return locate(queue, string.sub(id, 1, 14), string.sub(id, 15))
end

local function find_id(queue, id)
  local message = locate_id(queue, id)
  if message and message.ends > queue.now then return message end
  return nil
end

local TERMS = 24  -- bytes of a claim's record before the places of its messages

-- A live claim: its terms and the messages it took, or nil.
local function find_claim(queue, claim)
  local record = redis.call('HGET', queue.claims, claim)
  if not record then return nil end
  local ttl, started, ends, next_byte = struct.unpack('>I8I8I8', record)
  if ends <= queue.now then return nil end
  local members = {}
  for first = next_byte, #record, 14 do
    members[#members + 1] = string.sub(record, first, first + 13)
  end
  local held = {}
  for _, message in ipairs(read(queue, members)) do
    if message.claim == claim and message.ends > queue.now then held[#held + 1] = message end
  end
  return {ttl = ttl, started = started, ends = ends, held = held}
end

-- Put messages into a claim from now on, prolonging those that need it (I9).
local function hold(queue, claim, messages, ttl, grace)
  local ends = queue.now + ttl
  local heads, claimed, ending, members = {}, {}, {}, {}
  for index, message in ipairs(messages) do
    message.claim, message.available = claim, ends
    if message.ends < ends + grace then
      message.ends, message.ttl = ends + grace, ttl + grace
      add_pair(ending, int(message.ends), message.at)
    end
    add_pair(heads, message.at, pack(message))
    add_pair(claimed, waits_until(message), message.at)
    members[index] = message.at
  end
  send('ZREM', queue.ready, members)
  send('ZADD', queue.claimed, claimed)
  send('ZADD', queue.ending, ending)
  send('HSET', queue.heads, heads)
  redis.call('HSET', queue.claims, claim,
             struct.pack('>I8I8I8', ttl, queue.now, ends) .. table.concat(members))
  redis.call('ZADD', queue.claims_ending, int(ends), claim)
end
