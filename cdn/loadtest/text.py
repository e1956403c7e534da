"""A result as lines for a terminal; decides nothing about figures."""

from __future__ import annotations

from collections.abc import Iterator

from cdn.loadtest.result import Latency, Result


def summary(result: Result) -> str:
    return "\n".join(_lines(result)) + "\n"


def _lines(r: Result) -> Iterator[str]:
    yield f"{r.url}: {r.mode}, {r.connections} connections, {r.protocol}, {r.profile}"
    yield f"generator    {r.generator} ({r.why})" + (
        f", {r.own_cpu:.0%} of a core" if r.own_cpu is not None else ""
    )
    megabytes = r.bytes / r.seconds / 1e6 if r.seconds else 0.0
    yield f"answered     {r.answered:,} in {r.seconds:.1f} s: {r.per_second:,.0f}/s, {megabytes:,.1f} MB/s"
    yield f"latency      {_latency(r.latency)}"
    if r.hit_ratio is not None:
        yield f"hit ratio    {r.hit_ratio:.2%}"
    for kind, count in sorted(r.outcomes.items(), key=lambda item: -item[1]):
        times = r.by_outcome.get(kind)
        points = times.percentiles if times else {}
        slow = f", p50 {duration(points['50'])}" if points else ""
        slow += f", p99 {duration(points['99'])}" if "99" in points else ""
        yield f"  {kind}: {count:,}{slow}"
    yield "statuses     " + (
        ", ".join(f"{status}: {count:,}" for status, count in r.statuses.items()) or "none"
    )
    yield f"errors       {sum(r.errors.values()):,}"
    for kind, count in r.errors.items():
        yield f"  {kind}: {count:,}"
    for kind, count in r.failed_connects.items():
        yield f"  {kind}: {count:,} times (tried again)"
    if r.reconnects:
        yield f"reconnects   {r.reconnects:,}"
    for note in r.notes:
        yield f"note         {note}"
    if r.interrupted:
        yield "stopped early"


def _latency(times: Latency) -> str:
    if not times.count:
        return "none"
    points = ", ".join(f"p{p} {duration(us)}" for p, us in times.percentiles.items())
    return f"{points}, max {duration(times.highest)}, mean {duration(times.mean)}"


def duration(us: float) -> str:
    """Three digits or so: 950 µs, 1.25 ms, 3.4 s."""
    if us < 1000:
        return f"{us:.0f} µs"
    if us < 1e6:
        return f"{us / 1000:.3g} ms" if us < 1e5 else f"{us / 1000:.0f} ms"
    return f"{us / 1e6:.3g} s"
