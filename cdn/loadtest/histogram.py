"""Times to percentiles in bounded memory; knows nothing of what took that time.

Counts stand in buckets that are equally wide within each power of two, as in HdrHistogram: below 256 µs every
microsecond has its own, above it a bucket is at most 1/128 of its value wide. Times end at `LONGEST`.
"""

from __future__ import annotations

from collections.abc import Iterator

_BITS = 7  # 2^7 buckets a power of two: an error of less than 0.8 %
_HALF = 1 << _BITS
LONGEST = (1 << 36) - 1  # µs: 19 hours
_COUNT = (36 - _BITS + 1) << _BITS


class Histogram:
    """Whole microseconds, counted."""

    __slots__ = ("_buckets", "count", "highest", "lowest", "total")

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self._buckets = [0] * _COUNT
        self.count = 0
        self.total = 0
        self.highest = 0
        self.lowest = LONGEST

    def add(self, us: int, times: int = 1) -> None:
        us = 0 if us < 0 else LONGEST if us > LONGEST else us
        shift = us.bit_length() - _BITS - 1
        self._buckets[us if shift <= 0 else (shift << _BITS) + (us >> shift)] += times
        self.count += times
        self.total += us * times
        if us > self.highest:
            self.highest = us
        if us < self.lowest:
            self.lowest = us

    def merge(self, other: Histogram) -> None:
        """Adds all that the other counted."""
        if other.count:
            self._buckets = [a + b for a, b in zip(self._buckets, other._buckets, strict=True)]
            self.count += other.count
            self.total += other.total
            self.highest = max(self.highest, other.highest)
            self.lowest = min(self.lowest, other.lowest)

    @property
    def mean(self) -> float:
        """µs; 0 of nothing."""
        return self.total / self.count if self.count else 0.0

    def percentile(self, percent: float) -> int:
        """The smallest time in µs, to the width of a bucket, that so many percent did not exceed; 0 of
        nothing."""
        return next(self.percentiles([percent]))

    def percentiles(self, percents: list[float]) -> Iterator[int]:
        """The same for several, ascending, in one pass."""
        at, seen = -1, 0
        for percent in percents:
            rank = min(self.count, max(1, -(-self.count * round(percent * 1e6) // 10**8)))
            while seen < rank and at + 1 < _COUNT:
                at += 1
                seen += self._buckets[at]
            yield min(_last_of(at), self.highest) if self.count else 0


def _last_of(bucket: int) -> int:
    """The longest time of a bucket."""
    if bucket < 2 * _HALF:
        return bucket
    shift = (bucket >> _BITS) - 1
    return ((bucket - (shift << _BITS) + 1) << shift) - 1
