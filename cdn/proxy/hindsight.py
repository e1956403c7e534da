"""What earlier responses under a key have shown: that they could not be stored, and why, or not be had in slices.

Decides for how long that is believed. All workers of a node share the first; the second each learns for itself. Must
not know requests, nor what is done with this.
"""

from __future__ import annotations

from cachetools import TTLCache

from cdn.proxy._clock import Clock
from cdn.rules.outcome import NoStoreReason
from cdn.store import Memory

REASONS = tuple(NoStoreReason)
PREDICTED_FOR = 10_000  # ms; a flight that turns out uncacheable frees its key from waiting for this long
UNSLICED = 10_000  # keys
UNSLICED_FOR = 60_000  # ms for which a URL that could not be fetched in slices is not asked for them again


class Hindsight:
    def __init__(self, memory: Memory, clock: Clock) -> None:
        self._memory = memory
        self._clock = clock
        self._unsliced: TTLCache[bytes, bool] = TTLCache(UNSLICED, UNSLICED_FOR, timer=clock.now)

    def predict(self, key: bytes, reason: NoStoreReason) -> None:
        """The last response under this key could not be stored: nobody waits for the next one."""
        self._memory.remember_uncacheable(key, self._clock.now() + PREDICTED_FOR, REASONS.index(reason))

    def why_not_stored(self, key: bytes) -> NoStoreReason | None:
        """Why the last response under this key was not stored; None where that is not known any more."""
        number = self._memory.uncacheable(key, self._clock.now())
        return None if number is None else REASONS[number]

    def predicted_uncacheable(self, key: bytes) -> bool:
        return self._memory.uncacheable(key, self._clock.now()) is not None

    def storable_after_all(self, key: bytes) -> None:
        self._memory.remember_uncacheable(key, 0)

    def unsliceable(self, key: bytes, *, without_ranges: bool = False) -> None:
        """Slices of this URL could not be joined or stored; `without_ranges`: its origin serves no ranges at all."""
        self._unsliced[key] = without_ranges

    def sliceable(self, key: bytes) -> bool:
        return key not in self._unsliced and self.why_not_stored(key) in (None, NoStoreReason.TOO_LARGE)

    def without_ranges(self, key: bytes) -> bool:
        """Whether a range of this URL is known to bring everything."""
        return bool(self._unsliced.get(key, False))
