-- What one call sees and changes of a queue. Nothing is written before `commit` except
-- messages; a call that may refuse does so before it writes anything.
--
--   <prefix>{project:name}:queue        the header, a hash; also of a deleted queue for a while
--   <prefix>{project:name}:old          set of generations and lives that wait to be removed
--   <prefix>{project:name}:outbox       dead letters on their way to another hash slot
--   <prefix>{project:name}:arrivals     the last dead letter that each source has delivered
--   <prefix>{project:name}:arrived      the last letter that came from each source elsewhere
--   <prefix>{project:name}:g<n>:...     messages, claims and announcements of one generation (D17)
--   <prefix>{project:name}:l<n>:...     idempotency keys of one life of the name
--
-- A message is a member of `all` (by position), of `ending` (by its end) and of one of `ready`
-- (by position), `delayed`, `claimed` (both by available_at); see D7.

local VERSION = 4
local EPOCH = 1735689600000     -- 2025-01-01, where positions begin (D6)
local PER_MILLISECOND = 4096
local NEVER = 9007199254740991  -- available_at of what expires before it is available
local FREE = '\0\0\0\0\0\0\0\0\0\0\0\0\0'  -- the claim of what is in none
local HEAD = '>I8c9I8I8I8I8I4c13'
local SLICE = 2000              -- arguments of one command
local AWAY = 'QUEUEAWAY'         -- what an answer begins with that is none
local STEP = 500                -- messages made ready or expired in one call
local SCAN = 1000               -- messages looked at in one call
local HEADER = {'moment', 'position', 'serial', 'listing', 'life', 'generation', 'emptied',
                'promise', 'due', 'version', 'unlist', 'visits', 'fence', 'logged'}
local PARTS = {'all', 'ready', 'delayed', 'claimed', 'ending', 'heads', 'bodies', 'moved',
               'claims', 'claims_ending', 'log', 'log_ending'}

local function int(number) return string.format('%.0f', number) end

local function member(position) return string.format('%014x', position) end

local function position_of(text) return int(tonumber(text, 16)) end

local function next_after(last, now)
  local floor = math.max(now - EPOCH, 1) * PER_MILLISECOND
  if floor > last then return floor end
  return last + 1
end

-- Send a flat list of arguments in slices; SLICE is divisible by 2.
local function send(command, key, arguments)
  for first = 1, #arguments, SLICE do
    local last = math.min(first + SLICE - 1, #arguments)
    redis.call(command, key, unpack(arguments, first, last))
  end
end

-- HMGET in slices, aligned with `members`; false where there is nothing.
local function look_up(key, members)
  local found = {}
  for first = 1, #members, SLICE do
    local last = math.min(first + SLICE - 1, #members)
    local part = redis.call('HMGET', key, unpack(members, first, last))
    for index = 1, #part do found[#found + 1] = part[index] end
  end
  return found
end

local function name_keys(queue)
  for _, part in ipairs(PARTS) do
    queue[part] = queue.stem .. 'g' .. int(queue.generation) .. ':' .. part
  end
  queue.posts = queue.stem .. 'l' .. int(queue.life) .. ':posts'
  queue.posts_ending = queue.stem .. 'l' .. int(queue.life) .. ':posts_ending'
end

-- The queue under header key `key` at the later of `now` and the last moment it has seen (D4),
-- fenced or not: for whoever carries it, and for clearing away. All others `open` it.
local function open_any(key, now)
  local values = redis.call('HMGET', key, unpack(HEADER))
  local stem = string.sub(key, 1, -6)
  local queue = {key = key, stem = stem, changed = {}, dropped = {}, known = values[3] ~= false,
                 old = stem .. 'old', outbox = stem .. 'outbox', arrivals = stem .. 'arrivals',
                 arrived = stem .. 'arrived', outbox_rows = stem .. 'outbox_rows'}
  for index, field in ipairs(HEADER) do queue[field] = values[index] end
  for _, field in ipairs({'moment', 'position', 'serial', 'visits'}) do
    queue[field] = tonumber(queue[field] or 0)
  end
  for _, field in ipairs({'life', 'generation', 'emptied', 'promise', 'version'}) do
    queue[field] = queue[field] and tonumber(queue[field])
  end
  queue.now = math.max(tonumber(now), queue.moment)
  queue.exists = (queue.listing or queue.fence) and true or false
  if queue.exists then name_keys(queue) end
  return queue
end

local function refuse_fenced()
  error({err = AWAY .. ' The queue is fenced.'})
end

-- The queue for everybody. This is the one place where a fence stops them, so a call must not
-- have changed anything before it has opened every queue that it may change.
local function open(key, now)
  local queue = open_any(key, now)
  if queue.fence then refuse_fenced() end
  return queue
end

local function set(queue, field, value)
  queue[field] = value
  queue.changed[field] = type(value) == 'number' and int(value) or value
  queue.dropped[field] = nil
end

local function drop(queue, field)
  queue[field] = false
  queue.changed[field] = nil
  queue.dropped[field] = true
end

local function commit(queue)
  if queue.now > queue.moment then set(queue, 'moment', queue.now) end
  local arguments, fields = {}, {}
  for field, value in pairs(queue.changed) do
    arguments[#arguments + 1] = field
    arguments[#arguments + 1] = value
  end
  for field in pairs(queue.dropped) do fields[#fields + 1] = field end
  if #arguments > 0 then redis.call('HSET', queue.key, unpack(arguments)) end
  if #fields > 0 then redis.call('HDEL', queue.key, unpack(fields)) end
  queue.changed, queue.dropped = {}, {}
end

-- Write something, where an answer promises what an earlier call did. Whoever demands replicas
-- waits for what their own connection has written, from Redis 7.2 on: and the earlier call may
-- have come over another one, and be on no replica yet.
local function vouch(queue)
  if queue.known then redis.call('HSET', queue.key, 'moment', int(queue.moment)) end
end

-- A number this name has never used: versions, generations, lives, places in the outbox.
local function take_serial(queue)
  set(queue, 'serial', next_after(queue.serial, queue.now))
  return queue.serial
end

local function take_position(queue)
  set(queue, 'position', next_after(queue.position, queue.now))
  return queue.position
end

-- One that is made without a listing needs a fence: nobody would find it.
local function create(queue, listing, metadata, relaxed)
  local below = next_after(queue.position, queue.now) - 1
  set(queue, 'position', below)
  set(queue, 'emptied', below)
  if listing then
    set(queue, 'listing', listing)
    drop(queue, 'unlist')
  end
  set(queue, 'metadata', metadata)
  set(queue, 'relaxed', relaxed)
  set(queue, 'life', take_serial(queue))
  set(queue, 'generation', queue.life)
  set(queue, 'version', queue.life)
  queue.exists = true
  name_keys(queue)
end

-- Indexes beside the queue are written first (D17): a call that lacks an entry there changes
-- nothing and says what it needs. `which` is 0 for the queue itself, 1 for its dead letters'.

local function lacks_listing(queue, listing, which)
  if queue.exists or listing ~= '' then return nil end
  return {'need', which, 'listing'}
end

-- `promise` is the moment of an entry that the due index has, and how often a sweep had found
-- an entry nobody had adopted when it was asked for: one more, and it may be gone by now.
local function lacks_promise(queue, at, promise, which)
  if queue.promise and queue.promise <= at then return nil end
  local moment, visits = string.match(promise, '^(%d+):(%d+)$')
  moment = tonumber(moment)
  if not moment or moment > at or tonumber(visits) ~= queue.visits then
    return {'need', which, int(at), int(queue.visits)}
  end
  set(queue, 'promise', moment)
  return nil
end
