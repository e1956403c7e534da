"""Samples to figures: medians over rounds, ratios taken within each round, noise.

Two servers are only ever compared within one round, and only in rounds in which both met a machine of the same
pace; where there is no such round, in all of them. The median of those ratios is the figure. Knows no format.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from bench.pace import alike
from bench.peers import LIMIT, OURS
from bench.rows import Head, Row
from bench.runner import Sample


@dataclass(frozen=True, slots=True)
class Ratio:
    """The median over rounds of ours by theirs, with the extremes."""

    middle: float
    low: float
    high: float
    rounds: int

    def __str__(self) -> str:
        return f"{self.middle:.2f} ({self.low:.2f}–{self.high:.2f})"


class Figures:
    """All samples of a run, by row, head and peer."""

    def __init__(self, samples: Iterable[Sample]) -> None:
        self._samples: dict[tuple[str, Head, str], dict[int, Sample]] = {}
        for sample in samples:
            self._samples.setdefault((sample.row, sample.head, sample.peer), {})[sample.round] = sample

    def of(self, row: Row, head: Head, peer: str) -> list[Sample]:
        return list(self._samples.get((row.id, head, peer), {}).values())

    def rate(self, row: Row, head: Head, peer: str) -> float | None:
        """Requests per second, the median of the rounds."""
        return middle(s.per_second for s in self.of(row, head, peer))

    def server_us(self, row: Row, head: Head, peer: str) -> float | None:
        """CPU time of the server for a request in µs, the median of the rounds."""
        return middle(s.server_us for s in self.of(row, head, peer))

    def server_share(self, row: Row, head: Head, peer: str) -> float | None:
        """How much of its core the server used."""
        return middle(s.server_share for s in self.of(row, head, peer))

    def best(self, row: Row, head: Head, peers: Sequence[str]) -> str | None:
        """The peer with the highest rate; the limit and ourselves are not peers."""
        rates = {p: self.rate(row, head, p) or 0.0 for p in peers if p not in (LIMIT, OURS)}
        name = max(rates, key=lambda p: rates[p], default=None)
        return name if name is not None and rates[name] else None

    def ratio(self, row: Row, head: Head, peer: str) -> Ratio | None:
        """Our rate by the peer's."""
        return self._ratio((row.id, head, OURS), (row.id, head, peer))

    def browser_ratio(self, row: Row, peer: str) -> Ratio | None:
        """A server's rate with a browser's head by its own with the bare head."""
        return self._ratio((row.id, "browser", peer), (row.id, "bare", peer))

    def cpu_ratio(self, row: Row, head: Head, peer: str) -> Ratio | None:
        """The peer's CPU time for a request by ours: above 1 ours is cheaper, as with rates."""
        return self._ratio((row.id, head, OURS), (row.id, head, peer), lambda s: 1 / s.server_us)

    def _ratio(
        self,
        ours: tuple[str, Head, str],
        theirs: tuple[str, Head, str],
        value: Callable[[Sample], float] = lambda s: s.per_second,
    ) -> Ratio | None:
        a, b = self._samples.get(ours, {}), self._samples.get(theirs, {})
        both = [(a[n], b[n]) for n in a if n in b]
        fair = [(x, y) for x, y in both if alike(x.pace_us, y.pace_us)] or both
        by_round = [value(x) / value(y) for x, y in fair]
        if not by_round:
            return None
        return Ratio(median(by_round), min(by_round), max(by_round), len(by_round))

    def foreign_shares(self) -> list[float]:
        """What other processes took meanwhile, in cores, run by run."""
        return sorted(s.foreign_share for by_round in self._samples.values() for s in by_round.values())

    def paces(self) -> list[float]:
        """How fast the machine itself was around each run in which that was looked at, in µs (bench.pace)."""
        return sorted(
            s.pace_us for by_round in self._samples.values() for s in by_round.values() if s.pace_us
        )

    def spreads(self) -> list[float]:
        """(highest − lowest) / median over the rounds of each cell with several."""
        rates = ([s.per_second for s in by_round.values()] for by_round in self._samples.values())
        return sorted((max(r) - min(r)) / median(r) for r in rates if len(r) > 1)


def middle(values: Iterable[float]) -> float | None:
    """The median; None of nothing."""
    listed = list(values)
    return median(listed) if listed else None
