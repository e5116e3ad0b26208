-- Announcement logs: what was posted to a queue while somebody listens (D9).
--
--   <prefix>{project:name}:g<n>:log        a stream: by position, the head and body of a message
--   <prefix>{project:name}:g<n>:log_ending their places, sorted by their ends
--
-- That a log is open stands in the header, as the version of its last opening: so it outlives
-- the queue, and a post without a log pays for one field that is not there. What was announced
-- belongs to a generation, so a purge or a deletion empties the log by doing nothing more.

local ANNOUNCED_AT_ONCE = 100   -- looked at in one call, with their bodies

local function announce(queue, messages, bodies)
  local ending = {}
  for index, message in ipairs(messages) do
    local head = pack(message)
    redis.call('XADD', queue.log, position_of(message.at), 'm',
               struct.pack('>I2', #head) .. head .. bodies[index])
    add_pair(ending, int(message.ends), message.at)
  end
  send('ZADD', queue.log_ending, ending)
end

local function place_of(entry_id) return member(tonumber(string.match(entry_id, '^%d+'))) end

-- The row at `entry`, which is what XRANGE gives for one: the message and its body.
local function parse_row(entry)
  local row = entry[2][2]
  local size, next_byte = struct.unpack('>I2', row)
  return parse(place_of(entry[1]), string.sub(row, next_byte, next_byte + size - 1)),
    string.sub(row, next_byte + size)
end

-- One stretch of the log above `after`. `walked` is where the next one goes on, or ''.
local function announced(queue, after, limit)
  local reply = {'page', int(queue.now), ''}
  if not queue.logged or not queue.exists then return reply end
  limit = math.min(tonumber(limit), ANNOUNCED_AT_ONCE)
  local entries = redis.call('XRANGE', queue.log, int(tonumber(after) + 1), '+',
                             'COUNT', limit)
  for index, entry in ipairs(entries) do
    local message, body = parse_row(entry)
    if message.ends > queue.now then
      reply[#reply + 1] = message.at
      reply[#reply + 1] = pack(message)
      reply[#reply + 1] = body
    end
    if index == limit then reply[3] = position_of(message.at) end
  end
  return reply
end

-- The place of the last that was announced in this generation, gone or not; '' when there is none.
local function last_announced(queue)
  if redis.call('EXISTS', queue.log) == 0 then return '' end
  local facts = redis.call('XINFO', 'STREAM', queue.log)
  for index = 1, #facts, 2 do
    if facts[index] == 'last-generated-id' then return place_of(facts[index + 1]) end
  end
end

-- Remove at most `STEP` announcements of messages that have ended; returns how many.
local function expire_announced(queue)
  local ended = redis.call('ZRANGEBYSCORE', queue.log_ending, '-inf', int(queue.now),
                           'LIMIT', 0, STEP)
  local places = {}
  for index, at in ipairs(ended) do places[index] = position_of(at) end
  send('XDEL', queue.log, places)
  send('ZREM', queue.log_ending, ended)
  return #ended
end

-- The server frees the memory in the background.
local function drop_announced(queue)
  redis.call('UNLINK', queue.log, queue.log_ending)
end

-- A position above which everything stands that is posted from the queue's last moment on.
local function last_position(queue)
  if queue.exists then return queue.position end
  return next_after(queue.position, queue.moment) - 1
end

local function open_log(keys, arguments)
  local queue = open(keys[1], arguments[1])
  set(queue, 'logged', int(take_serial(queue)))
  commit(queue)
  return {'log', queue.logged, int(last_position(queue))}
end

local function log_state(keys, arguments)
  local queue = open(keys[1], arguments[1])
  return {'log', queue.logged or '', int(last_position(queue))}
end

-- ARGV: now, promise, listing; the version seen.
local function close_log(keys, arguments)
  local now, promise, _, version = unpack(arguments)
  local queue = open(keys[1], now)
  if queue.logged ~= version then return {'kept'} end
  if queue.exists then
    drop_announced(queue)
  else  -- nothing else would have the name forgotten
    local need = lacks_promise(queue, queue.now, promise, 0)
    if need then return need end
  end
  drop(queue, 'logged')
  commit(queue)
  return {'closed'}
end

local function page_log(keys, arguments)
  local now, after, limit = unpack(arguments)
  return announced(open(keys[1], now), after, limit)
end

local function trim_log(keys, arguments)
  local now, through = unpack(arguments)
  local queue = open(keys[1], now)
  if not queue.logged or not queue.exists then return {'trimmed', 0} end
  local entries = redis.call('XRANGE', queue.log, '-', through, 'COUNT', ANNOUNCED_AT_ONCE)
  local places = {}
  for index, entry in ipairs(entries) do places[index] = parse_row(entry).at end
  if #places > 0 then
    redis.call('ZREM', queue.log_ending, unpack(places))
    redis.call('XTRIM', queue.log, 'MINID', '=',
               int(tonumber(places[#places], 16) + 1))
  end
  return {'trimmed', #entries == ANNOUNCED_AT_ONCE and 1 or 0}
end

redis.register_function('nuska_open_log', open_log)
redis.register_function{function_name = 'nuska_close_log', callback = close_log,
                        flags = {'allow-oom'}}  -- it frees memory
redis.register_function{function_name = 'nuska_trim_log', callback = trim_log,
                        flags = {'allow-oom'}}  -- it frees memory
redis.register_function{function_name = 'nuska_log_state', callback = log_state,
                        flags = {'no-writes'}}
redis.register_function{function_name = 'nuska_page_log', callback = page_log,
                        flags = {'no-writes'}}
