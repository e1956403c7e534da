"""The memory store alone: ns per operation, and what an object costs beside its own bytes, of 1 KiB and of mixed sizes.

    python bench/micro_store.py [--objects 200000] [--rounds 5] [--policy lru]

Times are processor time, medians over the rounds of one loop in Python, less the empty loop; `lookup` so
includes making the entry that holds the record. Overhead: a store that is made for so many objects
(a quarter, a 12th and a 24th of that many of the mixed sizes), with tables for 2 workers, is filled until it
evicts; its whole size, index, page table and bitmaps included, is divided by what it then holds.
"""

from __future__ import annotations

import argparse
import math
import random
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median

from cachetools import LRUCache

from cdn.config.values import StoreConfig
from cdn.store import POLICIES, Draft, Memory

HEAD = (
    b"HTTP/1.1 200 OK\r\nDate: Tue, 15 Nov 1994 08:12:31 GMT\r\nContent-Type: text/html; charset=utf-8\r\n"
    b'ETag: "5d8c72a5edda8"\r\nLast-Modified: Tue, 15 Nov 1994 08:12:31 GMT\r\n'
    b"Cache-Control: max-age=3600\r\n"
)
BODY = bytes(1024)


def draft(now: int) -> Draft:
    return Draft(
        status=200,
        head=HEAD,
        status_line_len=17,
        born=now,
        fresh_until=now + 3_600_000,
        swr_until=now + 3_600_000,
        sie_until=now + 3_600_000,
        response_time=now,
        etag_offset=HEAD.index(b'"'),
        etag_len=15,
    )


def key(i: int) -> bytes:
    return b"h\x0f\0\0\0www.example.com\x10\0\0\0/objects/%08d" % i


def per_call(rounds: int, calls: int, loop: Callable[[Iterable[int]], None]) -> float:
    def empty(indices: Iterable[int]) -> None:
        for _ in indices:
            pass

    def once(f: Callable[[Iterable[int]], None]) -> float:
        indices = range(calls)
        begin = time.process_time_ns()
        f(indices)
        return (time.process_time_ns() - begin) / calls

    return median(once(loop) for _ in range(rounds)) - median(once(empty) for _ in range(rounds))


def resident() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) << 10
    return 0


def overhead(objects: int, policy: str, lengths: list[int]) -> None:
    """A store of the size that so many objects of these lengths should need, filled until it evicts."""
    payload = len(key(0)) + len(HEAD) + sum(lengths) // len(lengths)
    before = resident()
    memory = Memory(objects * (payload + 200), bytes(16), workers=2, policy=policy)
    now = 1_000_000
    one = draft(now)
    bodies = memoryview(bytes(max(lengths)))
    i = 0
    while memory.stats()["evictions"] <= i // 50_000:  # one in so many may go for its place in the index
        memory.publish(key(i), one, bodies[: lengths[i % len(lengths)]])
        i += 1
    s = memory.stats()
    own = s["object_bytes"] / s["objects"]
    print(
        f"{s['objects']:10,.0f} objects of {own:8,.0f} bytes with head and key, in {s['size'] / 2**20:7,.0f} MiB:"
        f" {s['size'] / s['objects'] - own:5.0f} bytes each beside those"
        f" (free: {(s['size'] - s['used']) / s['objects']:3.0f}), index load {s['index_load']:.2f},"
        f" resident {(resident() - before) / s['size']:.3f} of the size"
    )


def mixed_lengths(median: float, sigma: float, most: int) -> list[int]:
    rng = random.Random(4)
    return [min(most, int(rng.lognormvariate(math.log(median), sigma))) for _ in range(20_000)]


def operations(rounds: int, policy: str) -> None:
    memory = Memory(256 << 20, bytes(16), policy=policy)
    now = 1_000_000
    one = draft(now)
    kept = 100_000
    keys = [key(i) for i in range(kept)]
    for k in keys:
        memory.publish(k, one, BODY)
    order = [random.randrange(kept) for _ in range(200_000)]
    shuffled = [keys[i] for i in order]

    def lookup(indices: Iterable[int]) -> None:
        find = memory.lookup
        for i in indices:
            find(shuffled[i])

    def touched(indices: Iterable[int]) -> None:
        find = memory.lookup
        for i in indices:
            find(shuffled[i]).touch(now)  # type: ignore[union-attr]

    def missing(indices: Iterable[int]) -> None:
        find = memory.lookup
        for _ in indices:
            find(b"nothing here")

    def replace(indices: Iterable[int]) -> None:
        publish = memory.publish
        for i in indices:
            publish(shuffled[i], one, BODY)

    print(f"lookup of one of {kept} (with its entry)   {per_call(rounds, 200_000, lookup):8.0f} ns")
    print(f"the same, and touch                        {per_call(rounds, 200_000, touched):8.0f} ns")
    print(f"lookup of nothing                          {per_call(rounds, 200_000, missing):8.0f} ns")
    print(f"publish 1 KiB over the one before          {per_call(rounds, 50_000, replace):8.0f} ns")

    small = Memory(16 << 20, bytes(16), policy=policy)
    fresh = [key(i) for i in range(500_000)]
    at = 0

    def insert(indices: Iterable[int]) -> None:
        nonlocal at
        publish = small.publish
        for i in indices:
            publish(fresh[(at + i) % 500_000], one, BODY)
        at += len(range(50_000))

    insert(range(50_000))
    print(f"publish 1 KiB, evicting one                {per_call(rounds, 50_000, insert):8.0f} ns")

    # The Python way: cachetools' LRU of as many entries, each a tuple of head and body.
    python: LRUCache[bytes, tuple[bytes, bytes]] = LRUCache(kept)
    for k in keys:
        python[k] = (HEAD, BODY)

    def python_lookup(indices: Iterable[int]) -> None:
        find = python.get
        for i in indices:
            find(shuffled[i])

    def python_insert(indices: Iterable[int]) -> None:
        for i in indices:
            python[fresh[kept + i]] = (HEAD, BODY)

    print(f"  in Python (cachetools.LRUCache): lookup  {per_call(rounds, 200_000, python_lookup):8.0f} ns")
    print(f"  in Python: insert, evicting one          {per_call(rounds, 50_000, python_insert):8.0f} ns")

    sizes = [min(int(random.paretovariate(0.9) * 700), 1 << 20) for _ in range(20_000)]
    bodies = {n: bytes(n) for n in set(sizes)}

    def mixed(indices: Iterable[int]) -> None:
        nonlocal at
        publish = small.publish
        for i in indices:
            publish(fresh[(at + i) % 500_000], one, bodies[sizes[i]])
        at += len(sizes)

    mixed(range(len(sizes)))
    print(f"publish of mixed sizes, evicting           {per_call(rounds, len(sizes), mixed):8.0f} ns")
    s = small.stats()
    print(
        f"  bytes stored {s['object_bytes'] / s['size']:.3f} of the size, evictions {s['evictions']:.0f}, "
        f"records moved {s['moved']:.0f}"
    )

    body = bytes(1 << 20)
    target = memory.publish(b"large", one, body)
    assert target is not None

    def read(indices: Iterable[int]) -> None:
        for i in indices:
            target.read((i & 15) << 16, 65536)

    print(f"read of 64 KiB from 1 MiB                  {per_call(rounds, 5_000, read):8.0f} ns")

    def fill(indices: Iterable[int]) -> None:
        for i in indices:
            f, _ = memory.begin_fill(fresh[i])
            f.start(one, len(BODY))
            f.write(BODY)
            f.commit()

    print(f"begin, start, write, commit of 1 KiB       {per_call(rounds, 50_000, fill):8.0f} ns")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--objects", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--policy", choices=POLICIES, default=StoreConfig().eviction)
    parser.add_argument("--only-overhead", action="store_true", help="what an object costs, no times")
    chosen = parser.parse_args()
    random.seed(1)
    if not chosen.only_overhead:
        operations(chosen.rounds, chosen.policy)
    overhead(chosen.objects, chosen.policy, list(range(1008, 1040)))
    overhead(chosen.objects // 4, chosen.policy, mixed_lengths(2000, 1.2, 60_000))
    overhead(chosen.objects // 12, chosen.policy, mixed_lengths(8000, 1.0, 4 << 20))
    overhead(chosen.objects // 24, chosen.policy, mixed_lengths(8000, 1.5, 4 << 20))


if __name__ == "__main__":
    main()
