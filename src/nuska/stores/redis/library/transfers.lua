-- Queues carried out of this store and into it. What is behind a fence is the carrier's alone:
-- these functions open it whoever asks, and nothing there is swept until the fence is open.

-- The fence says which epoch it belongs to; so does the queue, when it is open again.

-- Whether the queue has seen a later epoch, or the end of this one.
local function is_late(queue, epoch)
  if not queue.exists then return false end
  local seen, given = tonumber(redis.call('HGET', queue.key, 'epoch') or 0), tonumber(epoch)
  return seen > given or (seen == given and not queue.fence)
end

local function put_fence(queue, epoch)
  set(queue, 'fence', epoch)
  set(queue, 'epoch', epoch)
end

-- The queue for who loads it, or nil and the answer to give.
local function open_fenced(key, now, epoch)
  local queue = open_any(key, now)
  if queue.fence ~= epoch then return nil, {'refused'} end
  return queue
end

-- Hidden from its project's list, which the driver sees to when it has the answer.
local function fence_queue(keys, arguments)
  local now, epoch = unpack(arguments)
  local queue = open_any(keys[1], now)
  if is_late(queue, epoch) then return {'late'} end
  if not queue.exists then create(queue, nil, '{}', '0') end
  if queue.listing then
    set(queue, 'unlist', queue.listing)
    drop(queue, 'listing')
  end
  put_fence(queue, epoch)
  commit(queue)
  return {'fenced', queue.unlist or ''}
end

local function open_fence(keys, arguments)
  local now, promise, listing, epoch = unpack(arguments)
  local queue = open_any(keys[1], now)
  if queue.fence ~= epoch then return {'exists'} end
  if listing == '' then return {'need', 0, 'listing'} end
  local work = next_end(queue)
  local need = work < NEVER and lacks_promise(queue, work, promise, 0)
  if need then return need end
  set(queue, 'listing', listing)
  drop(queue, 'fence')
  drop(queue, 'unlist')
  commit(queue)
  return {'opened'}
end

-- Every unexpired message of one stretch. `walked` is where the next one goes on, or ''.
local function dump_messages(keys, arguments)
  local now, after, limit = unpack(arguments)
  local queue = open_any(keys[1], now)
  if not queue.exists then return {'page', int(queue.now), ''} end
  local members = redis.call('ZRANGEBYSCORE', queue.all, '(' .. after, '+inf', 'LIMIT', 0, limit)
  local walked = #members == tonumber(limit) and position_of(members[#members]) or ''
  local shown = {}
  for _, message in ipairs(read(queue, members)) do
    if message.ends > queue.now then shown[#shown + 1] = message end
  end
  return show(queue, shown, {'page', int(queue.now), walked})
end

-- Open the log if it ought to be and is not, and the other way about.
local function follow_log(queue, logged)
  if logged == '1' then
    if not queue.logged then set(queue, 'logged', int(take_serial(queue))) end
  elseif queue.logged then
    drop_announced(queue)
    drop(queue, 'logged')
  end
end

-- ARGV: now, promise, listing, epoch; metadata, whether it is relaxed, base and last position,
-- whether its log is open.
local function begin_queue(keys, arguments)
  local now, promise, _, epoch, metadata, relaxed, base, last, logged = unpack(arguments)
  local queue = open_any(keys[1], now)
  if is_late(queue, epoch) then return {'late'} end
  if queue.exists then
    local need = lacks_promise(queue, queue.now, promise, 0)
    if need then return need end
    remove(queue)
  end
  local reached = queue.position
  create(queue, nil, metadata, relaxed)
  put_fence(queue, epoch)
  drop(queue, 'logged')
  follow_log(queue, logged)
  set(queue, 'emptied', tonumber(base))
  set(queue, 'position', math.max(reached, tonumber(last)))
  redis.call('UNLINK', queue.arrived)
  commit(queue)
  return {'begun', queue.unlist or ''}
end

-- ARGV: now, epoch; metadata, whether it is relaxed, base and last position, whether its log is
-- open.
local function amend_queue(keys, arguments)
  local queue, refused = open_fenced(keys[1], arguments[1], arguments[2])
  if refused then return refused end
  local _, _, metadata, relaxed, base, last, logged = unpack(arguments)
  set(queue, 'metadata', metadata)
  set(queue, 'relaxed', relaxed)
  set(queue, 'version', take_serial(queue))
  set(queue, 'emptied', tonumber(base))
  set(queue, 'position', math.max(queue.position, tonumber(last)))
  follow_log(queue, logged)
  commit(queue)
  return {'amended'}
end

-- Let claims that are loaded, or will be, know what they hold; `messages` name them.
local function join_claims(queue, messages)
  local joining, ends = {}, {}
  for _, message in ipairs(messages) do
    if is_held(message, queue.now) then
      joining[message.claim] = joining[message.claim] or {}
      table.insert(joining[message.claim], message.at)
      ends[message.claim] = message.available
    end
  end
  for claim, members in pairs(joining) do
    local record, known = redis.call('HGET', queue.claims, claim), {}
    if not record then  -- not live until its terms are loaded
      record = struct.pack('>I8I8I8', 0, 0, 0)
      redis.call('ZADD', queue.claims_ending, int(ends[claim]), claim)
    end
    for first = TERMS + 1, #record, 14 do known[string.sub(record, first, first + 13)] = true end
    local parts = {record}
    for _, at in ipairs(members) do
      if not known[at] then parts[#parts + 1] = at end
    end
    redis.call('HSET', queue.claims, claim, table.concat(parts))
  end
end

-- ARGV: now, epoch; place, head and body of each message. It takes the place of what has its position
-- or its id.
local function load_messages(keys, arguments)
  local queue, refused = open_fenced(keys[1], arguments[1], arguments[2])
  if refused then return refused end
  local before, messages, bodies = {}, {}, {}
  for index = 3, #arguments, 3 do
    local message = parse(arguments[index], arguments[index + 1])
    messages[#messages + 1], bodies[#bodies + 1] = message, arguments[index + 2]
    before[#before + 1] = read(queue, {message.at})[1]
    before[#before + 1] = locate(queue, member(message.posted), message.salt)
    local place = tonumber(message.at, 16)
    if place > queue.position then set(queue, 'position', place) end
  end
  forget(queue, before)
  store(queue, messages, bodies)
  join_claims(queue, messages)
  commit(queue)
  return {'loaded'}
end

-- ARGV: now, epoch; place, head and body of each announcement, oldest first. A stream only grows
-- at its end, and what was announced never changes: so what is not above the last that was loaded
-- has been loaded.
local function load_log(keys, arguments)
  local queue, refused = open_fenced(keys[1], arguments[1], arguments[2])
  if refused then return refused end
  if not queue.logged then return {'loaded'} end
  local last = last_announced(queue)
  local messages, bodies = {}, {}
  for index = 3, #arguments, 3 do
    if arguments[index] > last then
      last = arguments[index]
      messages[#messages + 1] = parse(last, arguments[index + 1])
      bodies[#bodies + 1] = arguments[index + 2]
    end
  end
  if last ~= '' and tonumber(last, 16) > queue.position then
    set(queue, 'position', tonumber(last, 16))
  end
  announce(queue, messages, bodies)
  commit(queue)
  return {'loaded'}
end

-- The log of a queue that may be fenced.
local function dump_log(keys, arguments)
  local now, after, limit = unpack(arguments)
  return announced(open_any(keys[1], now), after, limit)
end

-- ARGV: now, epoch; id, terms and end of each claim.
local function load_claims(keys, arguments)
  local queue, refused = open_fenced(keys[1], arguments[1], arguments[2])
  if refused then return refused end
  for index = 3, #arguments, 3 do
    local claim = arguments[index]
    local before = redis.call('HGET', queue.claims, claim) or ''
    redis.call('HSET', queue.claims, claim,
               arguments[index + 1] .. string.sub(before, TERMS + 1))
    redis.call('ZADD', queue.claims_ending, arguments[index + 2], claim)
  end
  commit(queue)
  return {'loaded'}
end

-- ARGV: now, epoch; key, record and end of each remembered post.
local function load_posts(keys, arguments)
  local queue, refused = open_fenced(keys[1], arguments[1], arguments[2])
  if refused then return refused end
  for index = 3, #arguments, 3 do
    redis.call('HSET', queue.posts, arguments[index], arguments[index + 1])
    redis.call('ZADD', queue.posts_ending, arguments[index + 2], arguments[index])
  end
  commit(queue)
  return {'loaded'}
end

-- ARGV: now, epoch; a source and the place of the last that came from there, for each.
local function load_arrived(keys, arguments)
  local queue, refused = open_fenced(keys[1], arguments[1], arguments[2])
  if refused then return refused end
  for index = 3, #arguments, 2 do
    redis.call('HSET', queue.arrived, arguments[index], arguments[index + 1])
  end
  return {'loaded'}
end

local function unload_messages(keys, arguments)
  local queue, refused = open_fenced(keys[1], arguments[1], arguments[2])
  if refused then return refused end
  local gone = {}
  for index = 3, #arguments do gone[#gone + 1] = locate_id(queue, arguments[index]) end
  forget(queue, gone)
  commit(queue)
  return {'unloaded'}
end

local function forget_queue(keys, arguments)
  local now, promise, _, epoch = unpack(arguments)
  local queue = open_any(keys[1], now)
  if queue.fence ~= epoch then return {'kept'} end
  local need = lacks_promise(queue, queue.now, promise, 0)
  if need then return need end
  remove(queue)
  drop(queue, 'logged')
  commit(queue)
  return {'forgotten', queue.unlist or ''}
end

local function arrive(keys, arguments) return take(keys, arguments, 'arrived') end

redis.register_function('nuska_begin_queue', begin_queue)
redis.register_function('nuska_amend_queue', amend_queue)
redis.register_function('nuska_load_messages', load_messages)
redis.register_function('nuska_load_claims', load_claims)
redis.register_function('nuska_load_log', load_log)
redis.register_function('nuska_load_posts', load_posts)
redis.register_function('nuska_load_arrived', load_arrived)
redis.register_function('nuska_arrive', arrive)
-- A queue must be able to leave a server whose memory is full.
redis.register_function{function_name = 'nuska_fence_queue', callback = fence_queue,
                        flags = {'allow-oom'}}
redis.register_function{function_name = 'nuska_open_fence', callback = open_fence,
                        flags = {'allow-oom'}}
redis.register_function{function_name = 'nuska_unload_messages', callback = unload_messages,
                        flags = {'allow-oom'}}
redis.register_function{function_name = 'nuska_forget_queue', callback = forget_queue,
                        flags = {'allow-oom'}}
redis.register_function{function_name = 'nuska_dump_messages', callback = dump_messages,
                        flags = {'no-writes'}}
redis.register_function{function_name = 'nuska_dump_log', callback = dump_log,
                        flags = {'no-writes'}}
