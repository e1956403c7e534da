"""A trace through the real store: look up, touch what is there, publish what is not.

Every request is 16 ms after the one before, the unit of the store's stamps. It must not know policies.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from bench.hits.traces import Trace
from cdn.store import Draft, Memory

HEAD = b"HTTP/1.1 200 OK\r\n"
NAME = b"%012d"
FAR = 1 << 60
TICK = 16
PAGE = 128 << 10  # the store's own unit of space
LOOK_EVERY = 8


@dataclass(frozen=True)
class Replay:
    """Misses in percent of requests and of bytes; `held`: bytes of bodies in the cache, the mean while it was full."""

    objects: float
    bytes: float
    held: float


def size_of(pages: int, objects: int) -> int:
    """A configured size that comes to so many pages for bodies, heads and records.

    Beside them: 16 bytes of index for each object that it has room for, as it grows, and what no store goes below.
    """
    return pages * PAGE + objects * 16 + (64 << 10) + pages * 40


def replay(trace: Trace, pages: int, most: int, policy: str, blob: memoryview) -> Replay:
    """`most`: larger bodies are not stored, as no cache of that many bytes would. `blob`: zeros to store."""
    objects = trace.objects
    memory = Memory(size_of(pages, objects), os.urandom(16), objects=objects, policy=policy)
    missed = missed_bytes = all_bytes = now = looks = 0
    held = 0
    for n, (key, size) in enumerate(trace.requests):
        now += TICK
        memory.now = now
        all_bytes += size
        name = NAME % key
        entry = memory.lookup(name)
        if entry is not None:
            entry.touch(now)
            entry.release()
            continue
        missed += 1
        missed_bytes += size
        if size <= most:
            memory.publish(name, Draft(200, HEAD, len(HEAD), now, FAR, FAR, FAR, now), blob[:size])
        if n % LOOK_EVERY == 0 and memory.stats()["evictions"]:
            held += bodies(memory)
            looks += 1
    return Replay(
        100 * missed / len(trace.requests),
        100 * missed_bytes / all_bytes,
        held / looks if looks else bodies(memory),
    )


def bodies(memory: Memory) -> int:
    """Bytes of bodies in the store."""
    s = memory.stats()
    return int(s["object_bytes"]) - int(s["objects"]) * (len(HEAD) + len(NAME % 0))


def mean(replays: Sequence[Replay]) -> Replay:
    n = len(replays)
    return Replay(*(sum(getattr(r, name) for r in replays) / n for name in ("objects", "bytes", "held")))
