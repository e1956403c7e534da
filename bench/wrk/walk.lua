-- Every target in turn, again and again: `-- PREFIX COUNT`, requests PREFIX1 … PREFIXCOUNT.
dofile(os.getenv("BENCH_WRK") .. "/report.lua")

local prefix, count, n = "", 1, 0

function init(args)
   prefix, count = args[1], tonumber(args[2])
end

function request()
   n = n % count + 1
   return wrk.format("GET", prefix .. n)
end
