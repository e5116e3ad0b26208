-- What every script prints at the end: one line of JSON that benchmarks/wrk.py reads.

local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

local function total(name)
  local sum = 0
  for _, thread in ipairs(threads) do
    sum = sum + (tonumber(thread:get(name)) or 0)
  end
  return sum
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '{"requests": %d, "micros": %d, "refused": %d, "broken": %d, "timeouts": %d, ' ..
    '"claimed": %d, "empty": %d, "p50": %d, "p99": %d, "max": %d}\n',
    summary.requests, summary.duration, errors.status,
    errors.connect + errors.read + errors.write, errors.timeout,
    total("claimed"), total("empty"),
    latency:percentile(50), latency:percentile(99), latency.max))
end
