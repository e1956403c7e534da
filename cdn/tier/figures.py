"""What is counted of one server: requests, failures by kind, and how long its first byte takes.

Decides the buckets and the weight of the newest figure. Must not know what a figure is used for.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

from cdn.tier.seam import Kind

BUCKETS = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000)  # ms, upper bounds
NEWEST = 0.1  # its share in the moving average


class Figures:
    __slots__ = ("average_ms", "buckets", "failures", "seconds", "worked")

    def __init__(self) -> None:
        self.worked = 0  # responses whose head came
        self.failures: dict[Kind, int] = {}
        self.average_ms = 0.0  # of the first byte, exponentially weighted
        self.seconds = 0.0
        self.buckets = [0] * (len(BUCKETS) + 1)

    def answered(self, first_byte_ms: float) -> None:
        self.worked += 1
        self.seconds += first_byte_ms / 1000
        self.average_ms += (first_byte_ms - self.average_ms) * (NEWEST if self.worked > 1 else 1.0)
        self.buckets[bisect_left(BUCKETS, first_byte_ms)] += 1

    def failed(self, kind: Kind) -> None:
        self.failures[kind] = self.failures.get(kind, 0) + 1

    def stats(self) -> dict[str, Any]:
        return {
            "answered": self.worked,
            "failures": {kind.value: count for kind, count in self.failures.items()},
            "average_ms": round(self.average_ms, 3),
            "latency_ms": {
                "bounds": list(BUCKETS),
                "counts": list(self.buckets),
                "sum_seconds": self.seconds,
            },
        }
