-- Every run ends with one line of JSON on stdout; the request of the command line is sent as it is.
function done(summary, latency, _)
   local e = summary.errors
   io.write(string.format(
      'BENCH {"requests": %d, "microseconds": %d, "bytes": %d, "errors": %d, "p50_us": %d, "p99_us": %d}\n',
      summary.requests, summary.duration, summary.bytes,
      e.connect + e.read + e.write + e.status + e.timeout, latency:percentile(50), latency:percentile(99)))
end
