-- Posts N small messages a request to queues NAME-FIRST … NAME-(FIRST + QUEUES - 1) by turns:
-- `wrk … http://HOST:PORT/v2/queues/NAME -- N FIRST QUEUES`.

dofile(debug.getinfo(1).source:match("@(.*/)") .. "report.lua")

local MESSAGE = '{"ttl": 36000, "body": {"job": 17, "kind": "resize", "path": "/in/a.png"}}'

local ready = {}
local turn = 0

function init(args)
  local messages = {}
  for i = 1, tonumber(args[1]) do
    messages[i] = MESSAGE
  end
  local body = '{"messages": [' .. table.concat(messages, ", ") .. "]}"
  local headers = {
    ["Client-ID"] = "0f8fad5bd9cb469fa165708677289501",
    ["X-Project-Id"] = "bench",
    ["Content-Type"] = "application/json",
    ["Host"] = wrk.headers["Host"],
  }
  local first, queues = tonumber(args[2]), tonumber(args[3])
  for i = 1, queues do
    local path = wrk.path .. "-" .. (first + i - 1) .. "/messages"
    ready[i] = wrk.format("POST", path, headers, body)
  end
end

function request()
  turn = turn % #ready + 1
  return ready[turn]
end
