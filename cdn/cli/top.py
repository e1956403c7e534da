"""`cdn top`: a running node's figures on a terminal, drawn anew every second from `GET /v1/stats`."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

from cdn.cli import admin_client
from cdn.cli.errors import Refused
from cdn.cli.explain import plain

SUMMARY = "watch a running node: requests, hit ratio, bytes, latency, origins, store"
DESCRIPTION = """\
Shows what a running node does now: requests a second by outcome, hit ratio, bytes, latency of what is not a hit,
each origin and its servers, the shields, the other nodes of the bus, and the store. It asks the admin listener every
few seconds and draws the difference. On anything but a terminal it prints one block per interval."""
EXAMPLES = """\
examples:
  cdn top
  cdn top --config site.yaml --every 5
  cdn top --count 1                    one block, of one interval, for a script or a bug report

exit codes: 0 ended by --count or Ctrl-C, 2 wrong use, 3 the admin listener refused or could not be reached
"""

HITS = ("hit", "stale", "stale-swr", "stale-sie", "revalidated", "collapsed")
QUANTILES = (0.5, 0.9, 0.99)
CLEAR = "\x1b[H\x1b[2J"
_TROUBLE = (
    ("errors", "errors"),
    ("direct", "to the origin"),
    ("retries", "retries"),
    ("queue_full", "queue full"),
)
_ROW = "{:<40} {:<10} {:>5} {:>5} {:>8} {:>7} {:>9} {:>9}"
Stats = Mapping[str, Any]


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--every", metavar="SECONDS", type=_seconds, default=1.0, help="between two looks (default: 1)"
    )
    parser.add_argument("--count", metavar="N", type=_count, help="end after so many blocks")
    admin_client.arguments(parser)


def _seconds(text: str) -> float:
    value = float(text)
    if not 0.1 <= value <= 3600:
        raise argparse.ArgumentTypeError("give seconds from 0.1 to 3600")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("give a number from 1")
    return value


def run(args: argparse.Namespace) -> int:
    client = admin_client.AdminClient(args)
    drawn = 0
    live = sys.stdout.isatty()
    before, at = client.call("GET", "/v1/stats"), time.monotonic()
    try:
        while args.count is None or drawn < args.count:
            time.sleep(args.every)
            try:
                now, when = client.call("GET", "/v1/stats"), time.monotonic()
            except Refused as refusal:
                if args.count is not None or not live:
                    raise
                _draw([*refusal.lines, "trying again …"], live)
                continue
            if _sum(now, "outcomes") < _sum(before, "outcomes"):
                before = {}  # the node was started anew: its counters began at nothing
            _draw(list(block(before, now, when - at, client.url)), live)
            before, at = now, when
            drawn += 1
    except KeyboardInterrupt:
        return 0
    return 0


def _draw(lines: list[str], live: bool) -> None:
    if live:
        width, height = os.get_terminal_size()
        text = "\n".join(line[:width] for line in lines[: height - 1])
        sys.stdout.write(f"{CLEAR}{text}\n")
    else:
        sys.stdout.write("\n".join(lines) + "\n\n")
    sys.stdout.flush()


# --- what is drawn


def block(before: Stats, now: Stats, seconds: float, node: str = "") -> Iterator[str]:
    """The lines of one look at `node`, `seconds` after the look before. What a node does not tell counts as nothing."""
    yield _head(now, node)
    yield ""
    yield from _requests(before, now, seconds)
    yield from _origins(before, now, seconds)
    yield from _bus(now)
    yield from _store(before, now, seconds)


def _head(now: Stats, node: str) -> str:
    return "   ".join(
        part
        for part in (
            f"cdn {plain(node)}",
            f"up {_span(_number(now, 'uptime_ms') / 1000)}",
            f"{_count_of(_number(now, 'connections', 'open'))} clients",
            f"{_count_of(_number(now, 'exchanges'))} exchanges under way",
            f"rss {_bytes(_number(now, 'process', 'rss'))}" if _number(now, "process", "rss") else "",
        )
        if part
    )


def _requests(before: Stats, now: Stats, seconds: float) -> Iterator[str]:
    outcomes = {name: _rate(before, now, seconds, "outcomes", name) for name in _section(now, "outcomes")}
    total = sum(outcomes.values())
    cacheable = total - sum(outcomes.get(name, 0.0) for name in ("pass", "synthetic", "error"))
    hits = sum(outcomes.get(name, 0.0) for name in HITS)
    ratio = f"{100 * hits / cacheable:.1f} %" if cacheable else "–"
    out = _bytes(_rate(before, now, seconds, "bytes", "out"))
    yield f"requests   {_count_of(total)}/s   hit ratio {ratio}   out {out}/s"
    shown = [f"{plain(name)} {_count_of(rate)}" for name, rate in outcomes.items() if rate]
    yield f"           {'  '.join(shown) or 'none'}"
    latency = _quantiles(_difference(before.get("latency_ms"), now.get("latency_ms")))
    yield f"latency    {latency}   (not the hit lane)"
    yield ""


def _origins(before: Stats, now: Stats, seconds: float) -> Iterator[str]:
    pools: list[tuple[str, ...]] = [("origins", name) for name in _section(now, "origins")]
    if _section(now, "shields"):
        pools.append(("shields",))
    if not pools:
        return
    yield _ROW.format("origin / server", "state", "busy", "idle", "resp/s", "fail/s", "average", "p99")
    for here in pools:
        more = [
            f"{label} {_count_of(rate)}/s"
            for key, label in _TROUBLE
            if (rate := _rate(before, now, seconds, *here, key))
        ]
        waiting = _number(now, *here, "queue_waiting")
        if waiting:
            more.append(f"{_count_of(waiting)} waiting")
        rate = _rate(before, now, seconds, *here, "requests")
        yield f"{plain(here[-1])[:40]:<40} {_count_of(rate)} requests/s  {'  '.join(more)}".rstrip()
        servers = _section(now, *here, "servers")
        for address, server in servers.items():
            if not isinstance(server, Mapping):
                continue
            there = (*here, "servers", address)
            failures = sum(
                _rate(before, now, seconds, *there, "failures", kind)
                for kind in _section(now, *there, "failures")
            )
            latency = _difference(_at(before, *there, "latency_ms"), _at(now, *there, "latency_ms"))
            backup = " (backup)" if server.get("backup") else ""
            yield _ROW.format(
                f"  {plain(address)}{backup}"[:40],
                plain(server.get("state", "")),
                f"{_number(now, *there, 'busy'):.0f}",
                f"{_number(now, *there, 'idle'):.0f}",
                _count_of(_rate(before, now, seconds, *there, "answered")),
                _count_of(failures),
                _ms(_number(now, *there, "average_ms")),
                _quantile(latency, 0.99),
            )
    yield ""


def _bus(now: Stats) -> Iterator[str]:
    """How far this node and the others have come with the purges of all, and whose routes or origins are others."""
    bus = _section(now, "bus")
    if not bus:
        return
    version = bus.get("configuration")
    state = "connected" if _number(bus, "connected") else "CUT OFF"
    behind = f", {_number(bus, 'lag'):.0f} behind" if _number(bus, "lag") else ""
    yield f"bus        {state}   purge {_number(bus, 'sequence'):.0f}{behind}   configuration {plain(str(version))}"
    nodes = bus.get("nodes")
    for node in nodes if isinstance(nodes, list) else []:
        if not isinstance(node, Mapping):
            continue
        other = node.get("configuration")
        yield (
            f"  {plain(str(node.get('node', '')))[:38]:<38} {plain(str(node.get('tier', ''))):<10} "
            f"purge {_number(node, 'sequence'):.0f}"
            + ("" if other == version else f"   another configuration: {plain(str(other))}")
        )
    yield ""


def _store(before: Stats, now: Stats, seconds: float) -> Iterator[str]:
    size, used = _number(now, "store", "size"), _number(now, "store", "used")
    full = f" ({100 * used / size:.0f} %)" if size else ""
    yield (
        f"store      {_bytes(used)} of {_bytes(size)}{full}   {_count_of(_number(now, 'store', 'objects'))} objects   "
        f"{_count_of(_rate(before, now, seconds, 'store', 'evictions'))} evicted/s"
    )
    reasons = sorted(
        ((_rate(before, now, seconds, "no_store", name), name) for name in _section(now, "no_store")),
        reverse=True,
    )
    shown = [f"{plain(name)} {_count_of(rate)}/s" for rate, name in reasons[:6] if rate]
    if shown:
        yield f"not stored {'  '.join(shown)}"


# --- figures


def _at(stats: Any, *path: str) -> Any:
    for name in path:
        if not isinstance(stats, Mapping):
            return None
        stats = stats.get(name)
    return stats


def _section(stats: Stats, *path: str) -> Mapping[str, Any]:
    found = _at(stats, *path)
    return found if isinstance(found, Mapping) else {}


def _number(stats: Stats, *path: str) -> float:
    found = _at(stats, *path)
    return float(found) if isinstance(found, int | float) else 0.0


def _sum(stats: Stats, *path: str) -> float:
    return sum(value for value in _section(stats, *path).values() if isinstance(value, int | float))


def _rate(before: Stats, now: Stats, seconds: float, *path: str) -> float:
    return max(0.0, _number(now, *path) - _number(before, *path)) / max(seconds, 0.001)


def _difference(before: Any, now: Any) -> tuple[list[float], list[float]]:
    """The bounds of a histogram and its counts since `before`."""
    if not isinstance(now, Mapping):
        return [], []
    counts = list(now["counts"])
    old = (
        list(before["counts"])
        if isinstance(before, Mapping) and len(before["counts"]) == len(counts)
        else [0] * len(counts)
    )
    return list(now["bounds"]), [new - less for new, less in zip(counts, old, strict=True)]


def _quantiles(histogram: tuple[list[float], list[float]]) -> str:
    return "  ".join(f"p{100 * part:g} {_quantile(histogram, part)}" for part in QUANTILES)


def _quantile(histogram: tuple[list[float], list[float]], part: float) -> str:
    """The upper bound of the bucket that the quantile falls into: no more is known."""
    bounds, counts = histogram
    total = sum(counts)
    if total <= 0:
        return "–"
    so_far = 0.0
    for bound, count in zip(bounds, counts, strict=False):
        so_far += count
        if so_far >= part * total:
            return f"≤ {_ms(bound)}"
    return f"> {_ms(bounds[-1])}"


def _ms(value: float) -> str:
    return f"{value / 1000:g} s" if value >= 1000 else f"{value:.3g} ms"


def _count_of(value: float) -> str:
    if value >= 1_000_000:
        return f"{value / 1_000_000:.2f} M"
    if value >= 10_000:
        return f"{value / 1000:.1f} k"
    return f"{value:.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"


def _bytes(value: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def _span(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
