-- Posts the same N small messages in every request: `wrk … URL -- N`.

dofile(debug.getinfo(1).source:match("@(.*/)") .. "report.lua")

local MESSAGE = '{"ttl": 3600, "body": {"job": 17, "kind": "resize", "path": "/in/a.png"}}'

function init(args)
  local messages = {}
  for i = 1, tonumber(args[1] or 1) do
    messages[i] = MESSAGE
  end
  wrk.method = "POST"
  wrk.body = '{"messages": [' .. table.concat(messages, ", ") .. "]}"
  wrk.headers["Client-ID"] = "0f8fad5bd9cb469fa165708677289501"
  wrk.headers["X-Project-Id"] = "bench"
  wrk.headers["Content-Type"] = "application/json"
end
