"""HTTP/2 by h2load: the command line, and its log of every request to a result.

Sees no fields of the answers, so it knows no `Cache-Status`. Decides nothing about when it is used.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from cdn.loadtest.errors import LoadTestError
from cdn.loadtest.external import call
from cdn.loadtest.histogram import Histogram
from cdn.loadtest.plan import Plan
from cdn.loadtest.profile import lines
from cdn.loadtest.result import Result
from cdn.loadtest.tally import latency

STREAMS = 10  # at once on each connection
_TRAFFIC = re.compile(r"^traffic: .*?\((\d+)\) total", re.M)
_PROTOCOL = re.compile(r"^Application protocol: (\S+)", re.M)


def run(plan: Plan, why: str) -> Result:
    """Runs h2load; LoadTestError when it fails, or when the server speaks no HTTP/2."""
    seconds = max(1, round(plan.duration))
    with tempfile.TemporaryDirectory(prefix="cdn-bench-") as folder:
        log = Path(folder, "log")
        command = ["h2load", f"-c{plan.connections}", f"-m{STREAMS}", f"-D{seconds}", f"--log-file={log}"]
        for name, value in plan.fields:
            command += ["-H", f"{name}: {value}"]
        if plan.urls is not None:
            base = f"{'https' if plan.target.tls else 'http'}://{plan.target.authority}"
            listed = Path(folder, "urls")
            listed.write_text("".join(f"{base}{path}\n" for _, path in lines(plan.urls)))
            command += ["-i", str(listed)]
        else:
            command.append(plan.target.url)
        out = call(command, seconds + plan.timeout + 10)
        if not log.exists():
            raise LoadTestError(f"h2load gave no figures: {out.strip()[-300:]}", failed=True)
        times, statuses, failed = _read(log)
    spoken = _PROTOCOL.search(out)
    if spoken is None or not spoken[1].startswith("h2"):
        what = f"it speaks {spoken[1]}" if spoken else "no connection came about"
        raise LoadTestError(f"{plan.target.url}: no HTTP/2 there: {what}", failed=True)
    traffic = _TRAFFIC.search(out)
    result = Result(
        url=plan.target.url,
        generator="h2load",
        why=why,
        mode="closed loop",
        profile=plan.profile if plan.urls is None else f"the URLs of {plan.urls} in turn",
        protocol="HTTP/2 over TLS" if plan.target.tls else "HTTP/2",
        connections=plan.connections,
        seconds=float(seconds),
        due=times.count + failed,
        answered=times.count,
        bytes=int(traffic[1]) if traffic else 0,
        errors={"stream failed": failed} if failed else {},
        statuses=statuses,
        outcomes={},
        latency=latency(times),
    )
    result.notes.append(
        f"{STREAMS} requests at once on each connection; h2load shows no Cache-Status: no hit ratio"
    )
    return result


def _read(log: Path) -> tuple[Histogram, dict[str, int], int]:
    """(times, statuses, failed) of a log with `begin status µs` a line; -1 is a status of nothing."""
    times, statuses, failed = Histogram(), dict[str, int](), 0
    with log.open() as file:
        for line in file:
            _begin, status, us = line.split()
            if status == "-1":
                failed += 1
                continue
            statuses[status] = statuses.get(status, 0) + 1
            times.add(int(us))
    return times, dict(sorted(statuses.items())), failed
