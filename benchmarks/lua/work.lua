-- A worker: claims N messages, then deletes them by their ids, over and over.
-- `wrk … http://HOST:PORT/v2/queues/NAME -- N`
--
-- wrk does not say which connection a response came on, so the ids of a finished claim go on
-- a pile of the thread, and the next request that any of its connections sends deletes them:
-- one claim and one delete in turn, as many of each in flight as there are connections.

dofile(debug.getinfo(1).source:match("@(.*/)") .. "report.lua")

claimed = 0 -- messages handed out
empty = 0 -- claims that found nothing

local claim, delete_head, delete_tail
local finished = {}
local deletes_in_flight = 0

function init(args)
  local headers = {
    ["Client-ID"] = "0f8fad5bd9cb469fa165708677289502",
    ["X-Project-Id"] = "bench",
    ["Content-Type"] = "application/json",
    ["Host"] = wrk.headers["Host"],
  }
  local queue = wrk.path
  claim = wrk.format("POST", queue .. "/claims?limit=" .. (args[1] or 10), headers,
    '{"ttl": 300, "grace": 60}')
  local delete = wrk.format("DELETE", queue .. "/messages?ids=IDS", headers)
  delete_head, delete_tail = delete:match("^(.-)IDS(.*)$")
end

function request()
  local ids = table.remove(finished)
  if ids then
    deletes_in_flight = deletes_in_flight + 1
    return delete_head .. ids .. delete_tail
  end
  return claim
end

function response(status, headers, body)
  if status == 201 then
    local ids = {}
    for id in body:gmatch('"id": ?"([^"]+)"') do
      ids[#ids + 1] = id
    end
    claimed = claimed + #ids
    finished[#finished + 1] = table.concat(ids, ",")
  elseif status == 204 then
    if deletes_in_flight > 0 then
      deletes_in_flight = deletes_in_flight - 1
    else
      empty = empty + 1
    end
  end
end
