-- Clearing away in small steps, and dead letters that travel between hash slots.

local REMEMBERED = 3600000               -- a deleted name keeps its counters an hour
local REMEMBERED_TARGET = 1296000000     -- 15 days when dead letters arrived there
local OUTBOX_RETRY = 1000
local LETTERS = 100

local function first_score(key)
  local first = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
  return first[2] and tonumber(first[2]) or NEVER
end

-- Not before the present has overtaken the positions of a name that came from elsewhere.
local function forget_at(queue)
  local has_arrivals = redis.call('EXISTS', queue.arrivals, queue.arrived) > 0
  local reached = EPOCH + math.ceil((queue.position + 1) / PER_MILLISECOND)
  return math.max(queue.moment + (has_arrivals and REMEMBERED_TARGET or REMEMBERED), reached)
end

-- The first moment at which something in a queue that exists is over.
local function next_end(queue)
  if queue.due then return queue.now end
  local first = NEVER
  for _, part in ipairs({'ending', 'delayed', 'claimed', 'claims_ending', 'posts_ending'}) do
    first = math.min(first, first_score(queue[part]))
  end
  if queue.logged then first = math.min(first, first_score(queue.log_ending)) end
  return first
end

-- The first moment at which there is something to clear away; NEVER when there is nothing.
-- What is behind a fence is its carrier's, and looked at again once that is open. A name whose
-- log is open is not forgotten, and asks for this when the log is closed.
local function next_work(queue)
  if not queue.known then return NEVER end
  if redis.call('EXISTS', queue.old) == 1 then return queue.now end
  local work = NEVER
  if redis.call('EXISTS', queue.outbox) == 1 then work = queue.now + OUTBOX_RETRY end
  if queue.fence then return work end
  if queue.exists then
    work = math.min(work, next_end(queue))
  elseif work == NEVER and not queue.logged then
    work = math.max(forget_at(queue), queue.now)
  end
  return work
end

local function remove_ended(queue, index, rows)
  local ended = redis.call('ZRANGEBYSCORE', index, '-inf', int(queue.now), 'LIMIT', 0, STEP)
  send('HDEL', rows, ended)
  send('ZREM', index, ended)
  return #ended
end

-- One old generation, or one old life: the server frees the memory in the background.
local function remove_old(queue)
  local old = redis.call('SRANDMEMBER', queue.old)
  if not old then return 0 end
  local stem, removed = queue.stem .. old .. ':', 0
  if string.sub(old, 1, 1) == 'l' then
    removed = redis.call('HLEN', stem .. 'posts')
    redis.call('UNLINK', stem .. 'posts', stem .. 'posts_ending')
  else
    removed = redis.call('HLEN', stem .. 'heads') + redis.call('HLEN', stem .. 'claims')
      + redis.call('XLEN', stem .. 'log')
    for _, part in ipairs(PARTS) do redis.call('UNLINK', stem .. part) end
  end
  redis.call('SREM', queue.old, old)
  return removed + 1
end

-- ARGV: now, and 1 when this is the sweep, which reports queues with due messages once.
local function sweep_queue(keys, arguments)
  local now, reporting = unpack(arguments)
  local queue = open_any(keys[1], now)
  if not queue.known then return {'unknown'} end
  local removed, due, full = remove_old(queue), 0, false
  if queue.exists and not queue.fence then
    local expired = expire(queue)
    local made = make_due_ready(queue)
    local claims = remove_ended(queue, queue.claims_ending, queue.claims)
    local posts = remove_ended(queue, queue.posts_ending, queue.posts)
    local announcements = queue.logged and expire_announced(queue) or 0
    removed = removed + expired + claims + posts + announcements
    full = math.max(expired, made, claims, posts, announcements) == STEP
    if made > 0 or queue.due then
      if reporting == '1' then
        due = 1
        if queue.due then drop(queue, 'due') end
      elseif not queue.due then
        set(queue, 'due', '1')
      end
    end
    -- What was over at this moment is gone, so nobody may come before it.
    if expired + made + claims + posts + announcements > 0 or next(queue.dropped) then
      commit(queue)
    end
  end
  local outbox = redis.call('EXISTS', queue.outbox)
  local work = next_work(queue)
  if not queue.exists and not queue.logged and outbox == 0 and forget_at(queue) <= queue.now
    and redis.call('EXISTS', queue.old) == 0 then
    redis.call('DEL', queue.key, queue.arrivals)
    redis.call('UNLINK', queue.arrived)
    return {'swept', removed, 0, 0, '', '', queue.unlist or '', 0}
  end
  local stays = queue.fence or not queue.exists and queue.logged
  local more = full or redis.call('EXISTS', queue.old) == 1
  return {'swept', removed, due, more and 1 or 0, work < NEVER and int(work) or '',
          queue.promise and int(queue.promise) or '', stays and queue.unlist or '', outbox}
end

-- ARGV: now, the moment of the index entry that was worked off, the moment of the one that is
-- there instead ('' = none). Refused when something needs looking at before that.
local function settle_queue(keys, arguments)
  local now, done, instead = unpack(arguments)
  local queue = open_any(keys[1], now)
  if not queue.known then return {'settled'} end
  if queue.promise ~= tonumber(done) then
    set(queue, 'visits', queue.visits + 1)
    commit(queue)
    return {'settled'}
  end
  local work = next_work(queue)
  if work < NEVER and (instead == '' or work < tonumber(instead)) then
    return {'earlier', int(work)}
  end
  if instead == '' then
    drop(queue, 'promise')
  else
    set(queue, 'promise', tonumber(instead))
  end
  commit(queue)
  return {'settled'}
end

-- The oldest dead letters in the outbox: place and row of each. Whoever gives ARGV[2], a place
-- to go on after ('' = from the start), and addresses to leave out, is told the last place first.
local function read_outbox(keys, arguments)
  local queue = open_any(keys[1], arguments[1])
  local after, skipped = arguments[2] or '', {}
  for index = 3, #arguments do skipped[arguments[index]] = true end
  local places = redis.call('ZRANGEBYSCORE', queue.outbox,
                            after == '' and '-inf' or '(' .. position_of(after), '+inf',
                            'LIMIT', 0, LETTERS)
  local reply = arguments[2] and {'outbox', places[#places] or ''} or {'outbox'}
  for index, row in ipairs(look_up(queue.outbox_rows, places)) do
    if row then
      local size = struct.unpack('>I4', row)
      if not skipped[string.sub(row, 9, 8 + size)] then add_pair(reply, places[index], row) end
    end
  end
  return reply
end

local function clear_outbox(keys, arguments)
  local queue = open_any(keys[1], arguments[1])
  local places = {}
  for index = 2, #arguments do places[#places + 1] = arguments[index] end
  send('ZREM', queue.outbox, places)
  send('HDEL', queue.outbox_rows, places)
  return {'cleared', redis.call('EXISTS', queue.outbox)}
end

-- ARGV: the source's name, then place, head and body of each letter in the source's order.
-- A letter arrives once: places go up, and the last one that arrived is remembered, in
-- `arrivals` for sources in this store and in `arrived` for all others.
local function take(keys, arguments, where)
  local now, promise, listing, source = unpack(arguments, 1, 4)
  local queue = open(keys[1], now)
  local last = redis.call('HGET', queue[where], source) or ''
  local letters, bodies = {}, {}
  local newest, is_ours = last, where == 'arrivals'
  for index = 5, #arguments, 3 do
    if arguments[index] > last then
      newest = arguments[index]
      letters[#letters + 1] = parse('', arguments[index + 1])
      -- Nobody may have it here before it left there, and its claim there was over. The times of
      -- other stores are nothing to this one.
      if is_ours then queue.now = math.max(queue.now, letters[#letters].available) end
      bodies[#bodies + 1] = arguments[index + 2]
    end
  end
  if #letters == 0 then return {'taken', 0, queue.exists and 1 or 0} end
  local need = lacks_listing(queue, listing, 0)
    or lacks_promise(queue, earliest_end(letters), promise, 0)
  if need then return need end
  if not queue.exists then create(queue, listing, '{}', '0') end
  for _, letter in ipairs(letters) do
    letter.available, letter.claim = math.min(letter.available, queue.now), FREE
  end
  append(queue, letters, bodies)
  redis.call('HSET', queue[where], source, newest)
  commit(queue)
  return {'taken', #letters, 1}
end

local function take_letters(keys, arguments) return take(keys, arguments, 'arrivals') end

redis.register_function{function_name = 'nuska_sweep_queue', callback = sweep_queue,
                        flags = {'allow-oom'}}  -- it frees memory
redis.register_function{function_name = 'nuska_settle_queue', callback = settle_queue,
                        flags = {'allow-oom'}}  -- it frees memory
redis.register_function{function_name = 'nuska_clear_outbox', callback = clear_outbox,
                        flags = {'allow-oom'}}  -- it frees memory
redis.register_function('nuska_take_letters', take_letters)
redis.register_function{function_name = 'nuska_read_outbox', callback = read_outbox,
                        flags = {'no-writes'}}
