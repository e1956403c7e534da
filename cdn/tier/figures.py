"""What is counted of one server: requests, failures by kind, and how long its first byte takes.

Decides the buckets and the weight of the newest figure. Must not know what a figure is used for.
"""

from __future__ import annotations

from typing import Any

from cdn.tier._standing import Tally
from cdn.tier.seam import Kind

BUCKETS = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000)  # ms, upper bounds
NEWEST = 0.1  # its share in the moving average


class Figures(Tally):
    """`answered(first_byte_ms)` counts a response whose head came."""

    __slots__ = ("failures",)

    def __init__(self) -> None:
        super().__init__(BUCKETS, NEWEST)
        self.failures: dict[Kind, int] = {}

    def failed(self, kind: Kind) -> None:
        self.failures[kind] = self.failures.get(kind, 0) + 1

    def stats(self) -> dict[str, Any]:
        return {
            "answered": self.worked,
            "failures": {kind.value: count for kind, count in self.failures.items()},
            "average_ms": round(self.average_ms, 3),
            "latency_ms": {
                "bounds": list(BUCKETS),
                "counts": self.buckets,
                "sum_seconds": self.seconds,
            },
        }
