"""What a worker counts. Names are those of `Outcome` and `NoStoreReason`; labels are closed sets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from cdn.rules.outcome import NoStoreReason, Outcome

# Upper bounds in ms of the buckets of the time from the head of a request to the end of its answer.
BUCKETS = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000)


class Counters:
    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter({outcome.value: 0 for outcome in Outcome})
        # one a request; the hit lane counts its own
        self.lanes: Counter[str] = Counter({"fill": 0, "general": 0, "tunnel": 0})
        self.no_store: Counter[str] = Counter({reason.value: 0 for reason in NoStoreReason})
        self.statuses: Counter[str] = Counter()
        self.origins: dict[str, Counter[str]] = {}
        self.buckets = [0] * (len(BUCKETS) + 1)
        self.seconds = 0.0
        self.body_bytes = 0
        self.failures = 0  # faults of our own, logged
        self.exchanges = 0  # in progress

    def origin(self, name: str) -> Counter[str]:
        """Requests, errors by kind, bytes received from one configured origin."""
        counter = self.origins.get(name)
        if counter is None:
            counter = self.origins[name] = Counter({"requests": 0, "errors": 0, "bytes": 0})
        return counter

    def done(self, outcome: str, status: int, no_store: str | None, sent: int, micros: int) -> None:
        self.outcomes[outcome] += 1
        self.statuses[f"{status // 100}xx" if 100 <= status <= 999 else "none"] += 1
        if no_store is not None:
            self.no_store[no_store] += 1
        self.body_bytes += sent
        ms = micros / 1000
        self.seconds += ms / 1000
        for index, bound in enumerate(BUCKETS):
            if ms <= bound:
                self.buckets[index] += 1
                return
        self.buckets[-1] += 1

    def take(
        self,
        lane: str,
        outcomes: Mapping[str, int],
        no_store: Mapping[str, int],
        statuses: Sequence[int],
        buckets: Sequence[int],
        micros: int,
        body_bytes: int,
    ) -> None:
        """What a lane has counted by itself. `statuses`: by their first digit, 0 where none went out."""
        self.lanes[lane] += sum(outcomes.values())
        self.outcomes.update(outcomes)
        self.no_store.update(no_store)
        for digit, count in enumerate(statuses):
            if count:
                self.statuses[f"{digit}xx" if digit else "none"] += count
        self.buckets = [mine + more for mine, more in zip(self.buckets, buckets, strict=True)]
        self.seconds += micros / 1e6
        self.body_bytes += body_bytes

    def stats(self) -> dict[str, Any]:
        return {
            "outcomes": dict(self.outcomes),
            "lanes": dict(self.lanes),
            "no_store": dict(self.no_store),
            "statuses": dict(self.statuses),
            "origins": {name: dict(counter) for name, counter in self.origins.items()},
            "latency_ms": {
                "bounds": list(BUCKETS),
                "counts": list(self.buckets),
                "sum_seconds": self.seconds,
            },
            "body_bytes": self.body_bytes,
            "failures": self.failures,
            "exchanges": self.exchanges,
        }
