"""HTTP/2 by h2load: the command line, and its log of every request to a result.

Sees no fields of the answers, so it knows no `Cache-Status`. Decides nothing about when it is used.
"""

from __future__ import annotations

import re
import socket
import ssl
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from cdn.loadtest.errors import LoadTestError
from cdn.loadtest.external import call
from cdn.loadtest.histogram import Histogram
from cdn.loadtest.plan import Plan
from cdn.loadtest.profile import lines
from cdn.loadtest.result import Moment, Result
from cdn.loadtest.tally import latency

_SETTINGS = 4  # the type of a frame
STREAMS = 10  # at once on each connection
EARLY = 0.9  # of the time that was asked for: an end before is said
_TRAFFIC = re.compile(r"^traffic: .*?\((\d+)\) total", re.M)
_UNDER_WAY = re.compile(r"^requests: .*?(\d+) started, (\d+) done", re.M)
_PROTOCOL = re.compile(r"^Application protocol: (\S+)", re.M)


def check(plan: Plan, connection: socket.socket) -> None:
    """LoadTestError when there is no HTTP/2 at the other end of a new connection: by ALPN, else by whether the preface
    is answered with settings (RFC 9113 §3.4)."""
    if isinstance(connection, ssl.SSLSocket):
        spoken = connection.selected_alpn_protocol()
        if spoken == "h2":
            return
        what = f"it speaks {spoken}" if spoken else "its TLS offers none"
    else:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, _SETTINGS, 0, 0, 0, 0, 0]))
        try:
            got = connection.recv(9)
        except OSError:
            got = b""
        if len(got) > 3 and got[3] == _SETTINGS:
            return
        what = "without TLS only a server that expects HTTP/2 at once can be asked"
    raise LoadTestError(f"{plan.target.url}: no HTTP/2 there: {what}", failed=True)


def run(plan: Plan, address: str, why: str) -> Result:
    """Runs h2load; LoadTestError when it fails, or when the server speaks no HTTP/2."""
    seconds: float = max(1, round(plan.duration))
    fields = {name.lower(): value for name, value in plan.fields if name.lower() == "host"}
    place = f"[{address}]" if ":" in address else address
    with tempfile.TemporaryDirectory(prefix="cdn-bench-") as folder:
        log = Path(folder, "log")
        command = ["h2load", f"-c{plan.connections}", f"-m{STREAMS}", f"-D{seconds}", f"--log-file={log}"]
        # The address was looked up, and found to be allowed, before: the name is not looked up again.
        command += [f"--connect-to={place}:{plan.target.port}"]
        # By itself it leaves out the brackets of an IPv6 address.
        command += ["-H", f":authority: {fields.get('host', plan.target.authority)}"]
        for name, value in plan.fields:
            if name.lower() != "host":
                command += ["-H", f"{name}: {value}"]
        if plan.urls is not None:
            base = f"{'https' if plan.target.tls else 'http'}://{plan.target.authority}"
            listed = Path(folder, "urls")
            listed.write_text("".join(f"{base}{path}\n" for _, path in lines(plan.urls)))
            command += ["-i", str(listed)]
        else:
            command.append(plan.target.url)
        begin = time.time_ns() // 1000
        told = call(command, seconds + plan.timeout + 10)
        out = told.text
        if told.interrupted:
            seconds = min(seconds, max(time.time_ns() // 1000 - begin, 1) / 1e6)
        if not log.exists():
            if told.interrupted:
                raise KeyboardInterrupt
            raise LoadTestError(f"h2load gave no figures: {out.strip()[-300:]}", failed=True)
        seen = _read(log, begin)
    spoken = _PROTOCOL.search(out)
    if not told.interrupted and (spoken is None or not spoken[1].startswith("h2")):
        what = f"it speaks {spoken[1]}" if spoken else "no connection came about"
        raise LoadTestError(f"{plan.target.url}: no HTTP/2 there: {what}", failed=True)
    traffic = _TRAFFIC.search(out)
    under_way = _UNDER_WAY.search(out)
    waiting = int(under_way[1]) - int(under_way[2]) if under_way else 0
    stuck = waiting >= STREAMS * plan.connections  # every stream of every connection: none of them was ended
    result = Result(
        url=plan.target.url,
        generator="h2load",
        why=why,
        mode="closed loop",
        profile=plan.profile if plan.urls is None else f"the URLs of {plan.urls} in turn",
        protocol="HTTP/2 over TLS" if plan.target.tls else "HTTP/2",
        connections=plan.connections,
        seconds=round(seen.seconds, 3) if seen.ended_early(seconds) and not stuck else float(seconds),
        due=seen.times.count + seen.failed,
        answered=seen.times.count,
        bytes=int(traffic[1]) if traffic else 0,
        errors={"stream failed": seen.failed} if seen.failed else {},
        statuses=dict(sorted(seen.statuses.items())),
        outcomes={},
        latency=latency(seen.times),
        series=seen.series(),
        interrupted=told.interrupted,
    )
    result.notes.append(
        f"{STREAMS} requests at once on each connection; h2load shows no Cache-Status: no hit ratio"
    )
    if stuck and (seen.ended_early(seconds) or not seen.times.count):
        result.notes.append(
            f"no answer came in the last {seconds - seen.last / 1e6:.1f} s: {waiting:,} requests were waiting, which"
            " are not in the figures"
        )
    elif seen.ended_early(seconds) and not told.interrupted:
        result.notes.append(
            f"after {seen.seconds:.2f} s the server had ended every connection (many allow a number of requests on"
            " each) and h2load opens no new ones: the figures are of that time"
        )
    return result


@dataclass(slots=True)
class _Seen:
    """Of a log: all times, and those of each second since the begin."""

    times: Histogram = field(default_factory=Histogram)
    statuses: dict[str, int] = field(default_factory=dict)
    failed: int = 0
    steps: dict[int, tuple[Histogram, list[int]]] = field(default_factory=dict)
    first: int = 0  # µs since the begin
    last: int = 0

    def add(self, at: int, status: str, us: int) -> None:
        end = at + us
        self.first = min(self.first, at) if self.times.count + self.failed else at
        self.last = max(self.last, end)
        answered, failures = self.steps.setdefault(end // 1_000_000, (Histogram(), []))
        if status == "-1":
            self.failed += 1
            failures.append(us)
            return
        self.statuses[status] = self.statuses.get(status, 0) + 1
        self.times.add(us)
        answered.add(us)

    @property
    def seconds(self) -> float:
        """From the first request to the last answer."""
        return max(self.last - self.first, 1) / 1e6

    def ended_early(self, asked: float) -> bool:
        return bool(self.times.count) and self.last / 1e6 < EARLY * asked

    def series(self) -> list[Moment]:
        moments = []
        for second, (answered, failures) in sorted(self.steps.items()):
            begin = max(second, self.first / 1e6)
            length = min(second + 1, self.last / 1e6) - begin
            if length > 0.05:  # what is left of a second shows nothing
                p50, p99 = answered.percentiles([50, 99])
                moments.append(
                    Moment(round(begin, 3), round(length, 3), answered.count, len(failures), p50, p99)
                )
        return moments


def _read(log: Path, begin: int) -> _Seen:
    """A log with `begin status µs` a line; -1 is a status of nothing. `begin`: µs of the epoch.

    A last line without its end is left out: h2load was interrupted there.
    """
    seen = _Seen()
    with log.open() as file:
        for line in file:
            if line.endswith("\n"):
                at, status, us = line.split()
                seen.add(max(int(at) - begin, 0), status, int(us))
    return seen
