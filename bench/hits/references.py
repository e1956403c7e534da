"""The same trace through other caches: cachetools, and libcachesim where it can be had.

libcachesim is under the GPL and no dependency: it is installed beside the results when a run wants it, and a run
without it says so. It must not know the store.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cachetools import LRUCache

from bench.hits.store import LOOK_EVERY, Replay
from bench.hits.traces import Trace

SIMULATED = {"LRU": "LRU", "SIEVE": "Sieve", "S3-FIFO as published": "S3FIFO", "GDSF": "GDSF"}
INSTALL_SECONDS = 120


def cachetools_lru(trace: Trace, capacity: int) -> Replay:
    cache: LRUCache[int, int] = LRUCache(capacity, getsizeof=lambda size: size)
    full = False

    def ask(key: int, size: int) -> tuple[bool, float]:
        nonlocal full
        if key in cache:
            cache[key]
            return True, cache.currsize
        if size <= capacity:
            full = full or cache.currsize + size > capacity
            cache[key] = size
        return False, cache.currsize if full else -1

    return _replay(trace, ask)


def simulated(module: Any, name: str, trace: Trace, capacity: int) -> Replay:
    cache = getattr(module, SIMULATED[name])(cache_size=capacity)
    request = module.Request()

    def ask(key: int, size: int) -> tuple[bool, float]:
        request.obj_id, request.obj_size = key, size
        hit = cache.get(request)
        return hit, -1 if hit else cache.get_occupied_byte()

    return _replay(trace, ask)


def _replay(trace: Trace, ask: Callable[[int, int], tuple[bool, float]]) -> Replay:
    """`ask` gives: was it there, and the bytes held (negative: does not count)."""
    missed = missed_bytes = all_bytes = looks = 0
    held = last = 0.0
    for n, (key, size) in enumerate(trace.requests):
        hit, last = ask(key, size)
        all_bytes += size
        if hit:
            continue
        missed += 1
        missed_bytes += size
        if n % LOOK_EVERY == 0 and last >= 0:
            held += last
            looks += 1
    return Replay(
        100 * missed / len(trace.requests), 100 * missed_bytes / all_bytes, held / looks if looks else last
    )


def libcachesim(folder: Path) -> Any | None:
    """The module, installed into `folder` if need be; None, said in one line, when it can't be had."""
    try:
        return importlib.import_module("libcachesim")
    except ImportError:
        pass
    command = [sys.executable, "-m", "pip", "install", "-q", "--target", str(folder), "libcachesim"]
    try:
        if not (folder / "libcachesim").is_dir():
            print("bench: installing libcachesim", file=sys.stderr)
            subprocess.run(command, check=True, capture_output=True, timeout=INSTALL_SECONDS)
        sys.path.append(str(folder))
        return importlib.import_module("libcachesim")
    except (subprocess.SubprocessError, OSError, ImportError) as error:
        print(f"bench: without libcachesim, which can't be installed here ({error})", file=sys.stderr)
        return None
