"""The store and the references at the same capacity.

A reference of C bytes holds at most C bytes of bodies, and less on the mean, as what comes next has to fit. The store
is configured in bytes of memory, which heads, records, index and pages share. So that neither has more room, the store
gets the size at which its LRU holds as many bytes of bodies on the mean as cachetools' LRU of C bytes does; all
policies run at that size. A store grows by pages of 128 KiB: where that is coarse, the two sizes around are measured
and what lies between is taken in proportion. The search begins where every object that the reference takes has room.

Traces are small, and a store of a few megabytes would measure its pages rather than its policies. So all sizes, those
of the caches too, are multiplied until the cache has 64 MiB: to a reference it is the same, as it knows sizes only.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.hits import references
from bench.hits.store import PAGE, Replay, mean, replay
from bench.hits.traces import Trace
from cdn.store import POLICIES

FRACTIONS = (0.01, 0.1, 0.2)
CACHETOOLS = "LRU (cachetools)"
AROUND = 0.97
LEAST = 64 << 20  # bytes of a cache
NEAR = 0.001  # of the bytes held: near enough
TRIES = 10
FEWEST = 7  # pages: 1 MiB with the reserve, less the store will not take


@dataclass
class Cell:
    """One trace at one capacity: name of the policy or reference → what it came to."""

    capacity: int
    ours: dict[str, Replay] = field(default_factory=dict)
    others: dict[str, Replay] = field(default_factory=dict)
    around: list[Replay] = field(default_factory=list)  # cachetools with that part of the room


@dataclass
class Result:
    trace: Trace
    cells: dict[float, Cell] = field(default_factory=dict)


def measure(trace: Trace, rounds: int, simulator: Any | None) -> Result:
    result = Result(trace)
    small = trace
    for fraction in FRACTIONS:
        factor = max(1, round(LEAST / (small.working_set * fraction)))
        trace = small.times(factor)
        cell = Cell(int(trace.working_set * fraction))
        blob = memoryview(bytes(max(size for _, size in trace.requests if size <= cell.capacity)))
        cell.others[CACHETOOLS] = references.cachetools_lru(trace, cell.capacity)
        cell.around = [references.cachetools_lru(trace, int(cell.capacity * AROUND))]
        for name in references.SIMULATED if simulator is not None else ():
            cell.others[name] = references.simulated(simulator, name, trace, cell.capacity)
        sizes = list(_sizes(trace, cell, rounds, blob))
        for policy in POLICIES:
            cell.ours[policy] = _weighed(
                [
                    (share, mean([replay(trace, pages, cell.capacity, policy, blob) for _ in range(rounds)]))
                    for pages, share in sizes
                ]
            )
        result.cells[fraction] = cell
        print(f"bench: {trace.name} at {fraction:.0%}", file=sys.stderr)
    return result


def _sizes(trace: Trace, cell: Cell, rounds: int, blob: memoryview) -> Iterator[tuple[int, float]]:
    """(pages, share): one size of the store, or the two around, at which LRU holds what the reference does."""
    wanted = cell.others[CACHETOOLS].held
    least = max(size for _, size in trace.requests if size <= cell.capacity) // PAGE + 3
    low: tuple[int, float] | None = None
    high: tuple[int, float] | None = None
    pages = max(FEWEST, least, cell.capacity // PAGE)
    for _ in range(TRIES):
        held = mean([replay(trace, pages, cell.capacity, "lru", blob) for _ in range(rounds)]).held
        if abs(held - wanted) <= NEAR * wanted:
            break
        if held < wanted:
            low = (pages, held)
        else:
            high = (pages, held)
        if low and high and high[0] - low[0] <= 1:
            share = (wanted - low[1]) / (high[1] - low[1])
            yield low[0], 1 - share
            yield high[0], share
            return
        if low and high:
            pages = min(max((low[0] + high[0]) // 2, low[0] + 1), high[0] - 1)
        else:
            step = max(1, round(abs(wanted - held) / PAGE))
            pages = max(FEWEST, pages + step if held < wanted else pages - step)
    yield pages, 1.0


def _weighed(parts: list[tuple[float, Replay]]) -> Replay:
    return Replay(
        *(sum(share * getattr(r, name) for share, r in parts) for name in ("objects", "bytes", "held"))
    )


def default_folder() -> Path:
    return Path(__file__).resolve().parent.parent.parent / "var" / "bench"
