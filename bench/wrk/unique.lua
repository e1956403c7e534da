-- No target is asked for twice: `-- PREFIX`, requests PREFIX0, PREFIX1, …
dofile(os.getenv("BENCH_WRK") .. "/report.lua")

local before, after, n = "", "", 0

function init(args)
   local whole = wrk.format("GET", args[1] .. "\1")
   local at = whole:find("\1", 1, true)
   before, after = whole:sub(1, at - 1), whole:sub(at + 1)
end

function request()
   n = n + 1
   return before .. n .. after
end
