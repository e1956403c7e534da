"""How many further tries an origin is worth: a share of its requests, and a few more.

Decides only whether one more try is within the budget, so that an origin in trouble is not asked three times as
often as one that is well. Must not know what failed, nor clocks: the caller says what time it is.
"""

from __future__ import annotations

SLOT_MS = 5_000  # two of them are looked at: between five and ten seconds


class Budget:
    """At most `minimum` + `percent` of the requests of the last two slots may be tries beyond the first."""

    __slots__ = ("_asked", "_minimum", "_percent", "_slot", "_spent", "refused", "spent")

    def __init__(self, percent: int, minimum: int) -> None:
        self._percent = percent
        self._minimum = minimum
        self._slot = -2
        self._asked = [0, 0]  # the slot before this one, this one
        self._spent = [0, 0]
        self.spent = 0  # since the start
        self.refused = 0

    def _turn(self, now: int) -> None:
        slot = now // SLOT_MS
        if slot != self._slot:
            near = slot == self._slot + 1
            self._asked = [self._asked[1] if near else 0, 0]
            self._spent = [self._spent[1] if near else 0, 0]
            self._slot = slot

    def request(self, now: int) -> None:
        """A request comes in; `now` in any monotonic ms."""
        if now // SLOT_MS != self._slot:
            self._turn(now)
        self._asked[1] += 1

    def spend(self, now: int) -> bool:
        """Take one further try out of the budget, or learn that there is none left."""
        self._turn(now)
        if sum(self._spent) * 100 >= self._minimum * 100 + sum(self._asked) * self._percent:
            self.refused += 1
            return False
        self._spent[1] += 1
        self.spent += 1
        return True
