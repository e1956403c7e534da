-- Counts statuses and Cache-Status of every answer; ends with one line of JSON for wrk.py.
local threads = {}

function setup(thread)
   table.insert(threads, thread)
end

function init(_)
   counts = {}
end

function response(status, headers, _)
   local told = "\n"
   for name, value in pairs(headers) do
      if #name == 12 and name:lower() == "cache-status" then told = value end
   end
   -- only what tells outcomes apart; lifetimes would make every value a key of its own
   local key = status .. " " .. told:gsub("ttl=%d+", "ttl=1")
   if counts[key] == nil then
      kinds = (kinds or 0) + 1
      if kinds > 256 then key = status .. " \n" end
   end
   counts[key] = (counts[key] or 0) + 1
end

local function quoted(text)
   return '"' .. text:gsub('[%c"\\\128-\255]', function(c) return string.format("\\u%04x", c:byte()) end) .. '"'
end

function done(summary, latency, _)
   local e, sum, parts, points = summary.errors, {}, {}, {}
   for _, thread in ipairs(threads) do
      for key, count in pairs(thread:get("counts")) do sum[key] = (sum[key] or 0) + count end
   end
   for key, count in pairs(sum) do parts[#parts + 1] = quoted(key) .. ": " .. count end
   for _, p in ipairs({50, 75, 90, 95, 99, 99.9, 99.99}) do
      points[#points + 1] = string.format('"%g": %d', p, latency:percentile(p))
   end
   io.write(string.format(
      'CDN-BENCH {"requests": %d, "microseconds": %d, "bytes": %d, "connect": %d, "read": %d, "write": %d, '
      .. '"timeout": %d, "mean": %.1f, "lowest": %d, "highest": %d, "percentiles": {%s}, "counts": {%s}}\n',
      summary.requests, summary.duration, summary.bytes, e.connect, e.read, e.write, e.timeout,
      latency.mean, latency.min, latency.max, table.concat(points, ", "), table.concat(parts, ", ")))
end
