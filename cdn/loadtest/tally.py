"""Counts what happens in a test, step by step; every count goes up in one place only.

Knows no connections. Kinds are bounded, whatever a server sends.
"""

from __future__ import annotations

from cdn.loadtest.cache_status import outcome
from cdn.loadtest.histogram import Histogram
from cdn.loadtest.result import PERCENTILES, Latency, Moment

MOST_KINDS = 32
OTHER = "other"


class Tally:
    """`step` closes a step and adds it to the whole."""

    def __init__(self) -> None:
        self.answered = 0
        self.bytes = 0
        self.failed = 0
        self.errors: dict[str, int] = {}
        self.statuses: dict[int, int] = {}
        self.waited = Histogram()  # of requests without an answer: at least so long
        self.totals: dict[str, Histogram] = {}
        self.series: list[Moment] = []
        self._step: dict[str, Histogram] = {}
        self._failed_before = 0

    def answer(self, head: bytes, status: int, size: int, us: int) -> None:
        self.answered += 1
        self.bytes += size
        try:
            self.statuses[status] += 1
        except KeyError:
            self.statuses[status] = 1
        kind = outcome(head)
        try:
            self._step[kind].add(us)
        except KeyError:
            kind = kind if len(self._step) < MOST_KINDS else OTHER
            self._step.setdefault(kind, Histogram()).add(us)

    def error(self, kind: str, us: int | None = None, times: int = 1) -> None:
        """`us`: it waited at least so long; None where no time can be told."""
        self.failed += times
        kind = kind if kind in self.errors or len(self.errors) < MOST_KINDS else OTHER
        self.errors[kind] = self.errors.get(kind, 0) + times
        if us is not None:
            self.waited.add(us, times)

    def step(self, at: float, seconds: float) -> Moment:
        """Ends a step that began `at` seconds from the begin."""
        whole = self.rest()
        p50, p99 = whole.percentiles([50, 99])
        errors, self._failed_before = self.failed - self._failed_before, self.failed
        moment = Moment(round(at, 3), round(seconds, 3), whole.count, errors, p50, p99)
        self.series.append(moment)
        return moment

    def rest(self) -> Histogram:
        """Adds what came since the last step to the whole; its times."""
        whole = Histogram()
        for kind, histogram in self._step.items():
            if not histogram.count:
                continue
            whole.merge(histogram)
            kept = kind if kind in self.totals or len(self.totals) < MOST_KINDS else OTHER
            self.totals.setdefault(kept, Histogram()).merge(histogram)
            histogram.clear()
        return whole

    def whole(self) -> Histogram:
        """All answers of ended steps, and what waited in vain with the time that it waited."""
        together = Histogram()
        for histogram in (*self.totals.values(), self.waited):
            together.merge(histogram)
        return together


def latency(histogram: Histogram) -> Latency:
    """A percentile is told only from times enough for one to lie beyond it."""
    told = [p for p in PERCENTILES if p == 50 or histogram.count * (100 - p) >= 100]
    values = dict(zip((f"{p:g}" for p in told), histogram.percentiles(told), strict=True))
    lowest = histogram.lowest if histogram.count else 0
    return Latency(histogram.count, round(histogram.mean, 1), lowest, histogram.highest, values)
