-- A worker: claims N messages, then deletes them by their ids, over and over.
-- `wrk … http://HOST:PORT/v2/queues/NAME -- N`, or `-- N QUEUES` for queues NAME-0,
-- NAME-1, … by turns.
--
-- wrk does not say which connection a response came on, so the ids of a finished claim go on
-- a pile of the thread, and the next request that any of its connections sends deletes them:
-- one claim and one delete in turn, as many of each in flight as there are connections.

dofile(debug.getinfo(1).source:match("@(.*/)") .. "report.lua")

claimed = 0 -- messages handed out
empty = 0 -- claims that found nothing

local claims, delete_head, delete_tail = {}
local turn = 0
local finished = {}
local deletes_in_flight = 0

function init(args)
  local headers = {
    ["Client-ID"] = "0f8fad5bd9cb469fa165708677289502",
    ["X-Project-Id"] = "bench",
    ["Content-Type"] = "application/json",
    ["Host"] = wrk.headers["Host"],
  }
  local ending = "/claims?limit=" .. (args[1] or 10)
  local terms = '{"ttl": 300, "grace": 60}'
  if args[2] then
    for i = 1, tonumber(args[2]) do
      claims[i] = wrk.format("POST", wrk.path .. "-" .. (i - 1) .. ending, headers, terms)
    end
  else
    claims[1] = wrk.format("POST", wrk.path .. ending, headers, terms)
  end
  delete_head, delete_tail = wrk.format("DELETE", "QUEUE", headers):match("^(.-)QUEUE(.*)$")
end

function request()
  local messages = table.remove(finished)
  if messages then
    deletes_in_flight = deletes_in_flight + 1
    return delete_head .. messages .. delete_tail
  end
  turn = turn % #claims + 1
  return claims[turn]
end

function response(status, headers, body)
  if status == 201 then
    local ids = {}
    for id in body:gmatch('"id": ?"([^"]+)"') do
      ids[#ids + 1] = id
    end
    claimed = claimed + #ids
    local queue = body:match('"href": ?"(/v2/queues/[^/"]+)')
    finished[#finished + 1] = queue .. "/messages?ids=" .. table.concat(ids, ",")
  elseif status == 204 then
    if deletes_in_flight > 0 then
      deletes_in_flight = deletes_in_flight - 1
    else
      empty = empty + 1
    end
  end
end
