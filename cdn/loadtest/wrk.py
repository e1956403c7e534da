"""A closed loop of one URL by wrk: the command line, and its line of figures to a result.

Decides nothing about when wrk is used.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from cdn.loadtest import cache_status, errors
from cdn.loadtest.errors import LoadTestError
from cdn.loadtest.external import call
from cdn.loadtest.plan import Plan
from cdn.loadtest.result import PERCENTILES, Latency, Result

SCRIPT = Path(__file__).with_name("wrk.lua")
MARK = "CDN-BENCH "


def run(plan: Plan, address: str, why: str) -> Result:
    """Runs wrk; LoadTestError when it gives no figures."""
    seconds = max(1, round(plan.duration))
    threads = min(max(1, (os.cpu_count() or 1) // 2), plan.connections)
    target = plan.target
    command = ["wrk", f"-t{threads}", f"-c{plan.connections}", f"-d{seconds}s", "-s", str(SCRIPT)]
    command += ["--timeout", f"{max(1, round(plan.timeout))}s"]
    fields = list(plan.fields)
    names = {name.lower() for name, _ in fields}
    if "host" not in names:
        fields.insert(0, ("Host", target.authority))
    if "user-agent" not in names:
        fields.append(("User-Agent", "cdn-bench"))
    for name, value in fields:
        command += ["-H", f"{name}: {value}"]
    place = f"[{address}]" if ":" in address else address
    # With TLS the name stays, as wrk takes the server name from it.
    url = target.url if target.tls else f"http://{place}:{target.port}{target.path}"
    out = call([*command, url], seconds + plan.timeout + 10)
    line = next((line for line in out.splitlines() if line.startswith(MARK)), None)
    if line is None:
        raise LoadTestError(f"wrk gave no figures: {out.strip()[-300:]}", failed=True)
    return _result(plan, json.loads(line.removeprefix(MARK)), why)


def _result(plan: Plan, seen: dict[str, object], why: str) -> Result:
    whole = {key: value for key, value in seen.items() if isinstance(value, int)}
    counts, percentiles = seen["counts"], seen["percentiles"]
    assert isinstance(counts, dict)
    assert isinstance(percentiles, dict)
    statuses: dict[str, int] = {}
    outcomes: dict[str, int] = {}
    for key, count in counts.items():
        status, _, told = key.partition(" ")
        statuses[status] = statuses.get(status, 0) + count
        head = b"" if told == "\n" else b"\r\ncache-status: " + told.encode("latin-1", "replace")
        kind = cache_status.outcome(head)
        outcomes[kind] = outcomes.get(kind, 0) + count
    failed = {
        errors.CONNECT + "failed": whole["connect"],
        "reading failed": whole["read"],
        "writing failed": whole["write"],
    }
    failed = {kind: count for kind, count in failed.items() if count}
    answered = whole["requests"]
    told = {f"{p:g}": percentiles[f"{p:g}"] for p in PERCENTILES if p == 50 or answered * (100 - p) >= 100}
    mean = seen["mean"]
    assert isinstance(mean, (int, float))
    result = Result(
        url=plan.target.url,
        generator="wrk",
        why=why,
        mode="closed loop",
        profile=plan.profile,
        protocol="HTTP/1.1 over TLS" if plan.target.tls else "HTTP/1.1",
        connections=plan.connections,
        seconds=whole["microseconds"] / 1e6,
        due=answered + sum(failed.values()),
        answered=answered,
        bytes=whole["bytes"],
        errors=failed,
        statuses=dict(sorted(statuses.items())),
        outcomes=dict(sorted(outcomes.items())),
        latency=Latency(answered, float(mean), whole["lowest"], whole["highest"], told),
    )
    if whole["timeout"]:
        result.notes.append(
            f"{whole['timeout']:,} answers took longer than the timeout; wrk waits for them all the same"
        )
    return result
