"""Requests to replay: recorded traces of a folder, and synthetic ones that are the same everywhere.

A trace knows objects and sizes, one size an object; not who caches them. Files are gzip CSV with the header
`time,obj_id,size`.
"""

from __future__ import annotations

import csv
import gzip
import itertools
import random
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

LARGEST = 24 << 20


@dataclass(frozen=True)
class Trace:
    """`requests`: (object, bytes) in order."""

    name: str
    about: str
    requests: list[tuple[int, int]]

    @property
    def working_set(self) -> int:
        """Bytes of all its objects."""
        return sum(dict(self.requests).values())

    @property
    def grain(self) -> float:
        """What one request for the largest object is of all bytes, in percent."""
        sizes = [size for _, size in self.requests]
        return 100 * max(sizes) / sum(sizes)

    def times(self, factor: int) -> Trace:
        """The same with so many times the sizes: for a cache of as many times the bytes it is the same trace."""
        return replace(self, requests=[(key, size * factor) for key, size in self.requests])

    @property
    def objects(self) -> int:
        return len({key for key, _ in self.requests})


def recorded(folder: Path) -> list[Trace]:
    """Every *.csv.gz of a folder, by name. ValueError names a file that is none of these."""
    found = []
    for path in sorted(folder.glob("*.csv.gz")):
        try:
            with gzip.open(path, "rt", newline="") as lines:
                rows = [(int(row["obj_id"]), int(row["size"])) for row in csv.DictReader(lines)]
        except (KeyError, ValueError, OSError, EOFError) as error:
            raise ValueError(f"{path} is not a trace of time,obj_id,size: {error!r}") from None
        found.append(Trace(path.name.removesuffix(".csv.gz"), "recorded", rows))
    return found


def synthetic() -> list[Trace]:
    return [
        _made("zipf", "Zipf 0.9 over 5,000 objects", _zipf),
        _made("scans", "Zipf 0.9 over 3,000; 30 % one-hit wonders between, and four scans", _scans),
        _made("churn", "Zipf 0.9 over 2,000, of which one in 15 requests replaces the most popular", _churn),
    ]


def _made(name: str, about: str, make: Callable[[random.Random], Iterator[int]]) -> Trace:
    """Sizes are lognormal (median 8 kB) with a tail of tens of megabytes; which object has which never changes."""
    rng = random.Random(name)
    sizes: dict[int, int] = {}
    requests = []
    for key in make(rng):
        if key not in sizes:
            tail = rng.random() < 0.001
            sizes[key] = int(rng.uniform(2e6, LARGEST)) if tail else 200 + int(rng.lognormvariate(9.0, 1.5))
        requests.append((key, sizes[key]))
    return Trace(name, about, requests)


def _ranks(objects: int, requests: int, rng: random.Random) -> Iterator[int]:
    sums = list(itertools.accumulate(1 / (i + 1) ** 0.9 for i in range(objects)))
    return (bisect_left(sums, rng.random() * sums[-1]) for _ in range(requests))


def _zipf(rng: random.Random) -> Iterator[int]:
    return _ranks(5000, 30_000, rng)


def _scans(rng: random.Random) -> Iterator[int]:
    fresh = itertools.count(100_000)
    for n, rank in enumerate(_ranks(3000, 20_000, rng)):
        yield rank
        if rng.random() < 0.43:
            yield next(fresh)
        if n % 5000 == 4999:
            yield from itertools.islice(fresh, 1000)


def _churn(rng: random.Random) -> Iterator[int]:
    for n, rank in enumerate(_ranks(2000, 30_000, rng)):
        yield 2000 + n // 15 - rank
