"""What a load test saw, ready to be printed; decides only what counts as a failed request."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from cdn.loadtest.cache_status import HITS, UNKNOWN

PERCENTILES = (50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 99.99)


@dataclass(frozen=True, slots=True)
class Latency:
    """Microseconds. `percentiles` has those of PERCENTILES that there are enough times for."""

    count: int
    mean: float
    lowest: int
    highest: int
    percentiles: dict[str, int]


@dataclass(frozen=True, slots=True)
class Moment:
    """One step of the test: `at` seconds from its begin, how much was answered in it and how fast (µs)."""

    at: float
    seconds: float
    answered: int
    errors: int
    p50_us: int
    p99_us: int


@dataclass(slots=True)
class Result:
    """`due` is what an open loop wanted to send, else what was sent. due = answered + all errors."""

    url: str
    generator: str
    why: str  # this generator
    mode: str
    profile: str
    protocol: str
    connections: int
    seconds: float
    due: int
    answered: int
    bytes: int
    errors: dict[str, int]
    statuses: dict[str, int]
    outcomes: dict[str, int]  # by Cache-Status; empty where the generator does not see it
    latency: Latency
    by_outcome: dict[str, Latency] = field(default_factory=dict)
    series: list[Moment] = field(default_factory=list)
    reconnects: int = 0
    failed_connects: dict[str, int] = field(default_factory=dict)  # no request was lost by them
    own_cpu: float | None = None  # share of a core that the generator used
    own_lag_us: int | None = None  # p99 of how late it was by itself
    notes: list[str] = field(default_factory=list)
    interrupted: bool = False

    @property
    def per_second(self) -> float:
        return self.answered / self.seconds if self.seconds > 0 else 0.0

    @property
    def hit_ratio(self) -> float | None:
        """Hits of the answers with a Cache-Status; None without any."""
        told = sum(count for name, count in self.outcomes.items() if name != UNKNOWN)
        return sum(self.outcomes.get(name, 0) for name in HITS) / told if told else None

    @property
    def error_share(self) -> float:
        """Requests without an answer, and answers of status 5xx, of all that were due."""
        broken = sum(count for status, count in self.statuses.items() if status.startswith("5"))
        return (sum(self.errors.values()) + broken) / self.due if self.due else 0.0

    def as_dict(self) -> dict[str, Any]:
        """For JSON; the derived figures are in it."""
        return {
            **asdict(self),
            "per_second": round(self.per_second, 2),
            "hit_ratio": self.hit_ratio,
            "error_share": self.error_share,
        }
