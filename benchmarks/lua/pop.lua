-- Pops N messages a request until the time is over: `wrk … URL -- N`.

dofile(debug.getinfo(1).source:match("@(.*/)") .. "report.lua")

function init(args)
  wrk.method = "DELETE"
  wrk.path = wrk.path .. "/messages?pop=" .. (args[1] or 20)
  wrk.headers["Client-ID"] = "0f8fad5bd9cb469fa165708677289502"
  wrk.headers["X-Project-Id"] = "bench"
end
