"""Readers do without their pins when too much of the store is pinned.

What is leaving to a client is pinned, and nobody is evicted for as long: clients that hardly read could fill the store
with what nobody else wants. `store.pinned` says how much may be held while room is wanted. Beyond it the slowest ones
lose their pins: they hold their record while they send only, and go on for as long as it is not evicted. Only then are
they cut, and those whose body would not be found again (purged, replaced) where that was not enough, one after the
other. Decides who, and in which order; must not know a connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from operator import itemgetter

from cdn.proxy._front import Front
from cdn.store import Memory

AGAIN = 0.01  # seconds until it is looked whether those who were cut have let go


class Relief:
    """Of one worker. `said(sentence)` puts a line in the node's log."""

    def __init__(self, memory: Memory, fronts: Sequence[Front], said: Callable[[str], None]) -> None:
        self._memory = memory
        self._fronts = fronts
        self._said = said
        self._waiting: asyncio.TimerHandle | None = None

    def look(self) -> None:
        """Called whenever the store may be too crowded."""
        if self._waiting is not None or not self._memory.crowded:
            return
        holders = [(pace, held, front) for front in self._fronts for pace, held in front.holders()]
        if not holders:
            return
        holders.sort(key=itemgetter(0))
        self._memory.relieved()
        bound = []
        for _, connection, front in holders:
            if not front.loosen(connection):
                bound.append((connection, front))
            elif not self._memory.crowded:
                return
        if bound:
            connection, front = bound[0]
            front.cut(connection)
            self._said("slow clients hold more of the store than store.pinned: the slowest are cut")
            self._waiting = asyncio.get_running_loop().call_later(AGAIN, self._again)

    def _again(self) -> None:
        self._waiting = None
        self.look()

    def close(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
