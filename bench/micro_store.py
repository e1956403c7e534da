"""The memory store alone: ns per operation, and what an object costs beside its own bytes, of 1 KiB and of mixed sizes.

    python -m bench.micro_store [--objects 200000] [--policy lru] [--traces FOLDER]     # times: bench.micro

Times are processor time, medians over the rounds of one loop, less the empty one. Overhead: a store that is made for so
many objects (a quarter, a 12th and a 24th of that many of the mixed sizes), with tables for 2 workers, is filled until
it evicts; its whole size, index, tables and what is free included, is divided by what it then holds. The rules' notes,
14 bytes of each, count as overhead. Sizes of recorded traces (each object's, again and again) fill a store of 1 GiB.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import gzip
import math
import random
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median
from typing import Any

from cachetools import LRUCache

from bench.micro_core import parse_range
from bench.micro_page import Operation
from cdn.config.values import StoreConfig
from cdn.store import POLICIES, Draft, Memory

HEAD = (
    b"HTTP/1.1 200 OK\r\nDate: Tue, 15 Nov 1994 08:12:31 GMT\r\nContent-Type: text/html; charset=utf-8\r\n"
    b'ETag: "5d8c72a5edda8"\r\nLast-Modified: Tue, 15 Nov 1994 08:12:31 GMT\r\n'
    b"Cache-Control: max-age=3600\r\n"
)
BODY = bytes(1024)
NOTES = bytes(14)  # what the rules note of a response where nothing is out of the ordinary


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
    fill_up(objects * (payload + 200), policy, lengths)


def fill_up(size: int, policy: str, lengths: list[int]) -> None:
    before = resident()
    memory = Memory(size, bytes(16), workers=2, policy=policy)
    one = dataclasses.replace(draft(1_000_000), meta=NOTES)
    bodies = memoryview(bytes(max(lengths)))
    i = 0
    while memory.stats()["evictions"] <= i // 50_000:  # one in so many may go for its place in the index
        memory.publish(key(i), one, bodies[: lengths[i % len(lengths)]])
        i += 1
    s = memory.stats()
    own = s["object_bytes"] / s["objects"] - len(NOTES)
    print(
        f"{s['objects']:10,.0f} objects of {own:8,.0f} bytes with head and key, in {s['size'] / 2**20:7,.0f} MiB:"
        f" {s['size'] / s['objects'] - own:5.0f} bytes each beside those"
        f" (free: {(s['size'] - s['used']) / s['objects']:3.0f}), index load {s['index_load']:.2f},"
        f" resident {(resident() - before) / s['size']:.3f} of the size"
    )
    parts = {name: n / s["objects"] for name, n in memory.account().items() if name != "objects"}
    parts["notes"] = float(len(NOTES))
    print("           " + ", ".join(f"{name} {n:.1f}" for name, n in parts.items()))


def traced_lengths(path: Path) -> list[int]:
    """The size of each object of a recorded trace, in an order of chance."""
    with gzip.open(path, "rt") as lines:
        lengths = list({row["obj_id"]: int(row["size"]) for row in csv.DictReader(lines)}.values())
    random.Random(4).shuffle(lengths)
    return lengths


def mixed_lengths(median: float, sigma: float, most: int) -> list[int]:
    rng = random.Random(4)
    return [min(most, int(rng.lognormvariate(math.log(median), sigma))) for _ in range(20_000)]


def operations(leaves: Any, rounds: int, policy: str = StoreConfig().eviction) -> list[Operation]:
    """Look-ups, reads and stores beside a dict and an LRUCache of heads and bodies. `leaves`: _micro.pyx, built."""
    memory = Memory(256 << 20, bytes(16), policy=policy)
    now = 1_000_000
    one = draft(now)
    kept = 100_000
    keys = [key(i) for i in range(kept)]
    for k in keys:
        memory.publish(k, one, BODY)
    chance = random.Random(1)
    shuffled = [keys[chance.randrange(kept)] for _ in range(200_000)]
    absent = [b"nothing here %d" % i for i in range(200_000)]
    # The Python way: a dict, or cachetools' LRU, of as many entries, each a tuple of head and body.
    plain: dict[bytes, tuple[bytes, bytes]] = dict.fromkeys(keys, (HEAD, BODY))
    python: LRUCache[bytes, tuple[bytes, bytes]] = LRUCache(kept)
    for k in keys:
        python[k] = (HEAD, BODY)

    def leaf(what: str, store: Memory, asked: list[bytes], wanted: int) -> float:
        times = []
        for _ in range(rounds):
            took, found = leaves.store(what, store, asked, now)
            assert found == wanted, f"{what}: {found} of {wanted}"
            times.append(took / len(asked))
        return median(times)

    def found(indices: Iterable[int]) -> None:
        find = plain.get
        for i in indices:
            find(shuffled[i])

    def missing(indices: Iterable[int]) -> None:
        find = plain.get
        for i in indices:
            find(absent[i])

    def used(indices: Iterable[int]) -> None:
        find = python.get
        for i in indices:
            find(shuffled[i])

    of = f"one of {kept:,} of 1 KiB"
    calls = len(shuffled)
    done = [
        Operation(
            "look up a key",
            of,
            leaf("find", memory, shuffled, calls),
            per_call(rounds, calls, found),
            "a dict",
        ),
        Operation(
            "",
            "one that is not there",
            leaf("find", memory, absent, 0),
            per_call(rounds, calls, missing),
            "the same",
        ),
        Operation(
            "and count the use",
            of,
            leaf("touch", memory, shuffled, calls),
            per_call(rounds, calls, used),
            "cachetools.LRUCache",
        ),
    ]

    large = bytes(1 << 20)
    wide = Memory(8 << 20, bytes(16), policy=policy)
    wide.publish(b"large", one, large)
    bodies = {b"large": (HEAD, large)}

    def cut(indices: Iterable[int]) -> None:
        for _ in indices:
            body = bodies[b"large"][1]
            first, last = parse_range(b"bytes=65536-131071", len(body))
            body[first : last + 1]

    ns = leaf("range", wide, [b"large"] * 2000, 2000)
    done.append(
        Operation(
            "answer a Range",
            "64 KiB of 1 MiB",
            ns,
            per_call(rounds, 2000, cut),
            "a dict, a regular expression, a slice",
        )
    )
    return [*done, *_stores(rounds, policy, memory, shuffled, python)]


def _stores(
    rounds: int,
    policy: str,
    memory: Memory,
    shuffled: list[bytes],
    python: LRUCache[bytes, tuple[bytes, bytes]],
) -> list[Operation]:
    """What writes: called from Python here too, which is in the times."""
    now = 1_000_000
    one = draft(now)
    count = 50_000
    fresh = [key(1_000_000 + i) for i in range(500_000)]
    small = Memory(16 << 20, bytes(16), policy=policy)
    at = 0

    def over(indices: Iterable[int]) -> None:
        publish = memory.publish
        for i in indices:
            publish(shuffled[i], one, BODY)

    def python_over(indices: Iterable[int]) -> None:
        for i in indices:
            python[shuffled[i]] = (HEAD, BODY)

    def insert(indices: Iterable[int]) -> None:
        nonlocal at
        publish = small.publish
        for i in indices:
            publish(fresh[(at + i) % len(fresh)], one, BODY)
        at += count

    def python_insert(indices: Iterable[int]) -> None:
        nonlocal at
        for i in indices:
            python[fresh[(at + i) % len(fresh)]] = (HEAD, BODY)
        at += count

    sizes = [min(int(random.paretovariate(0.9) * 700), 1 << 20) for _ in range(20_000)]
    bodies = {n: bytes(n) for n in set(sizes)}

    def mixed(indices: Iterable[int]) -> None:
        nonlocal at
        publish = small.publish
        for i in indices:
            publish(fresh[(at + i) % len(fresh)], one, bodies[sizes[i]])
        at += len(sizes)

    def fill(indices: Iterable[int]) -> None:
        for i in indices:
            f, _ = memory.begin_fill(fresh[i])
            f.start(one, len(BODY))
            f.write(BODY)
            f.commit()

    insert(range(count))  # until it is full
    lru = "cachetools.LRUCache"
    done = [
        Operation(
            "store",
            "1 KiB, evicting one",
            per_call(rounds, count, insert),
            per_call(rounds, count, python_insert),
            lru,
        ),
        Operation(
            "",
            "1 KiB over the one before",
            per_call(rounds, count, over),
            per_call(rounds, count, python_over),
            lru,
        ),
    ]
    mixed(range(len(sizes)))
    return [
        *done,
        Operation("", "mixed sizes to 1 MiB, evicting", per_call(rounds, len(sizes), mixed), None, ""),
        Operation("fill", "begin, start, write 1 KiB, commit", per_call(rounds, count, fill), None, ""),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--objects", type=int, default=200_000)
    parser.add_argument("--policy", choices=POLICIES, default=StoreConfig().eviction)
    parser.add_argument(
        "--traces", type=Path, metavar="FOLDER", help="*.csv.gz of time,obj_id,size: their sizes, too"
    )
    chosen = parser.parse_args()
    random.seed(1)
    overhead(chosen.objects, chosen.policy, list(range(1008, 1040)))
    overhead(chosen.objects // 4, chosen.policy, mixed_lengths(2000, 1.2, 60_000))
    overhead(chosen.objects // 12, chosen.policy, mixed_lengths(8000, 1.0, 4 << 20))
    overhead(chosen.objects // 24, chosen.policy, mixed_lengths(8000, 1.5, 4 << 20))
    for path in sorted(chosen.traces.glob("*.csv.gz")) if chosen.traces else ():
        print(path.name)
        fill_up(1 << 30, chosen.policy, traced_lengths(path))


if __name__ == "__main__":
    main()
