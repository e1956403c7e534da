"""Which server of an origin is asked next: smooth weighted round robin, with a short back-off after failed
connects.

Decides an order, from weights and recent connect failures only. Must not know connections, requests or
clocks: the caller says what time it is. Deterministic for a given `start`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

BACK_OFF_MS = 2_000  # after a failed connect a server is tried last for so long; doubled per failure in a row
BACK_OFF_MAX_MS = 30_000


class Balancer:
    """Smooth weighted round robin over servers 0 … n-1.

    Every pick adds each server's weight to its credit, takes the highest credit, and charges it the sum of
    the weights; so a weight of 3 against 1 gives a a b a, never a a a b. `start` picks are made in advance,
    so that workers that are given different numbers do not all begin with the same server.
    """

    __slots__ = ("_credit", "_failures", "_until", "_weights")

    def __init__(self, weights: Sequence[int], *, start: int = 0) -> None:
        self._weights = tuple(max(1, weight) for weight in weights)
        self._credit = [0] * len(self._weights)
        self._until = [0] * len(self._weights)  # ms; tried last before then
        self._failures = [0] * len(self._weights)
        for _ in range(start % max(1, sum(self._weights))):
            self._next(range(len(self._weights)))

    def pick(self, now: int, tried: Collection[int] = ()) -> int | None:
        """The server to ask at `now` (any monotonic ms), none of `tried`; None when all were tried.

        Servers in back-off come only after all others, the one whose back-off ends first before the rest.
        """
        left = [i for i in range(len(self._weights)) if i not in tried]
        fit = [i for i in left if self._until[i] <= now]
        if fit:
            return self._next(fit)
        return min(left, key=lambda i: self._until[i], default=None)

    def _next(self, among: Collection[int]) -> int:
        for i in among:
            self._credit[i] += self._weights[i]
        best = max(among, key=lambda i: self._credit[i])  # the first one, where credits are equal
        self._credit[best] -= sum(self._weights[i] for i in among)
        return best

    def failed(self, server: int, now: int) -> None:
        """No connection to it could be made."""
        pause = min(BACK_OFF_MS << min(self._failures[server], 10), BACK_OFF_MAX_MS)
        self._failures[server] += 1
        self._until[server] = now + pause

    def worked(self, server: int) -> None:
        """It took a request."""
        if self._failures[server]:
            self._failures[server] = 0
            self._until[server] = 0
