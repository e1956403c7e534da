-- Counts statuses and Cache-Status of every answer; ends with one line of JSON for wrk.py.
local threads = {}

-- The address that was looked up, and found to be allowed, before wrk was started: the name is not looked up again.
local address = os.getenv("CDN_BENCH_ADDRESS")
if address then
   function wrk.resolve(_, service) wrk.addrs = wrk.lookup(address, service) end
end

function setup(thread)
   table.insert(threads, thread)
end

function init(_)
   counts, endless, last = {}, 0, 0
end

function response(status, headers, _)
   local told, framed = "\n", status == 204 or status == 304
   for name, value in pairs(headers) do
      local size = #name
      if size == 12 then
         if name:lower() == "cache-status" then told = value end
      elseif size == 14 then
         framed = framed or name:lower() == "content-length"
      elseif size == 17 then
         framed = framed or name:lower() == "transfer-encoding"
      end
   end
   last = os.time()
   if not framed then endless = endless + 1 end
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
   local e, sum, parts, points, endless, last = summary.errors, {}, {}, {}, 0, 0
   for _, thread in ipairs(threads) do
      for key, count in pairs(thread:get("counts")) do sum[key] = (sum[key] or 0) + count end
      endless = endless + thread:get("endless")
      last = math.max(last, thread:get("last"))
   end
   for key, count in pairs(sum) do parts[#parts + 1] = quoted(key) .. ": " .. count end
   -- wrk keeps no time of an answer that came after the timeout: they stand behind all others, as -1
   local kept = summary.requests - e.timeout
   for _, p in ipairs({50, 75, 90, 95, 99, 99.9, 99.99}) do
      local among = kept > 0 and p * summary.requests / kept or 101
      points[#points + 1] = string.format('"%g": %d', p, among <= 100 and latency:percentile(among) or -1)
   end
   io.write(string.format(
      'CDN-BENCH {"requests": %d, "microseconds": %d, "bytes": %d, "connect": %d, "read": %d, "write": %d, '
      .. '"timeout": %d, "endless": %d, "silent": %d, "mean": %.1f, "lowest": %d, "highest": %d, '
      .. '"percentiles": {%s}, "counts": {%s}}\n',
      summary.requests, summary.duration, summary.bytes, e.connect, e.read, e.write, e.timeout, endless,
      last > 0 and os.time() - last or 0, kept > 0 and latency.mean or 0, kept > 0 and latency.min or 0,
      kept > 0 and latency.max or 0, table.concat(points, ", "), table.concat(parts, ", ")))
end
