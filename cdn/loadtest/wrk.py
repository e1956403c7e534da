"""A closed loop of one URL by wrk: the command line, and its line of figures to a result.

Decides nothing about when wrk is used.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from cdn.loadtest import cache_status, errors
from cdn.loadtest.errors import LoadTestError
from cdn.loadtest.external import call
from cdn.loadtest.plan import Plan
from cdn.loadtest.result import PERCENTILES, Latency, Result

SCRIPT = Path(__file__).with_name("wrk.lua")
MARK = "CDN-BENCH "
SILENT = 2  # seconds without an answer at the end that are told of
CORRECTED = (
    "wrk corrects its times for stalls: a request that took long counts as those, too, that its connection would have "
    "sent meanwhile (--generator own has the times of what was sent)"
)


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
    # The name stays, as wrk takes the server name of TLS from it; wrk.lua connects to the address.
    told = call([*command, target.url], seconds + plan.timeout + 10, {"CDN_BENCH_ADDRESS": address})
    line = next((line for line in told.text.splitlines() if line.startswith(MARK)), None)
    if line is None and told.interrupted:
        raise KeyboardInterrupt
    if line is None:
        raise LoadTestError(f"wrk gave no figures: {told.text.strip()[-300:]}", failed=True)
    result = _result(plan, json.loads(line.removeprefix(MARK)), why)
    result.interrupted = told.interrupted
    return result


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
    late = whole["timeout"]
    # What ends with its connection is an answer and a failed reading to wrk.
    vague = {"reading failed": max(0, whole["read"] - whole["endless"]), "writing failed": whole["write"]}
    failed = {errors.CONNECT + "failed": whole["connect"], **vague, errors.TIMEOUT: late}
    failed = {kind: count for kind, count in failed.items() if count}
    everything = whole["requests"]
    answered = everything - late
    longest = round(max(1, round(plan.timeout)) * 1e6)
    told = {}
    for p in PERCENTILES:
        if p == 50 or everything * (100 - p) >= 100:
            us = percentiles[f"{p:g}"]
            told[f"{p:g}"] = longest if us < 0 else us
    mean = seen["mean"]
    assert isinstance(mean, (int, float))
    if everything:
        mean = (mean * answered + longest * late) / everything
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
        latency=Latency(
            everything,
            round(float(mean), 1),
            whole["lowest"] if answered else longest,
            longest if late else whole["highest"],
            told if everything else {},
        ),
    )
    result.notes += _notes(plan, whole, vague)
    return result


def _notes(plan: Plan, whole: dict[str, int], vague: dict[str, int]) -> Iterator[str]:
    if whole["requests"]:
        yield CORRECTED
    if any(vague.values()):
        yield (
            "to wrk a reset, an early end and a malformed answer are all alike; --generator own tells them apart"
        )
    if whole["timeout"]:
        yield (
            f"{whole['timeout']:,} answers came after the timeout: wrk waits for them, so their statuses are counted; "
            "in the times they are as long as the timeout, which is too short"
        )
    if whole["silent"] >= SILENT:
        yield (
            f"no answer came in the last {whole['silent']} s: as many as {plan.connections:,} requests were waiting, "
            "which wrk does not count (--generator own waits for them, and does)"
        )
