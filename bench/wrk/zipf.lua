-- Targets drawn by popularity: `-- PREFIX COUNT EXPONENT`; PREFIXk is asked for in proportion to k^-EXPONENT.
-- 0: all alike, however many. 262,144 draws are made before the clock starts (always the same ones) and repeated.
dofile(os.getenv("BENCH_WRK") .. "/report.lua")

local DRAWS = 262144
local drawn, n = {}, 0

function init(args)
   local prefix, count, exponent = args[1], tonumber(args[2]), tonumber(args[3])
   local cumulated, sum, ready = {}, 0, {}
   for k = 1, exponent > 0 and count or 0 do
      sum = sum + k ^ -exponent
      cumulated[k] = sum
   end
   math.randomseed(20240501)
   for i = 1, DRAWS do
      local x, low, high = math.random() * sum, 1, count
      if exponent == 0 then low, high = math.random(count), 0 end
      while low < high do
         local middle = math.floor((low + high) / 2)
         if cumulated[middle] < x then low = middle + 1 else high = middle end
      end
      ready[low] = ready[low] or wrk.format("GET", prefix .. low)
      drawn[i] = ready[low]
   end
end

function request()
   n = n % DRAWS + 1
   return drawn[n]
end
