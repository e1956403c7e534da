"""One deadline, one timer, armed lazily: `start` and `stop` only move a number, the timer looks when it
fires.

Must not know what is awaited. A loop that nobody waits on is woken at most once more, then never.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Deadline:
    """Calls `on_late` when `start(ms)` was not followed by another `start` or by `stop` within `ms`."""

    __slots__ = ("_at", "_fires", "_handle", "_loop", "on_late")

    def __init__(self, loop: asyncio.AbstractEventLoop, on_late: Callable[[], None]) -> None:
        self._loop = loop
        self._at = 0.0  # loop time; 0.0: stopped
        self._fires = 0.0
        self._handle: asyncio.TimerHandle | None = None
        self.on_late = on_late

    def start(self, ms: int) -> None:
        self._at = self._loop.time() + ms / 1000
        if self._handle is not None:
            if self._fires <= self._at + 0.001:
                return
            self._handle.cancel()
        self._arm()

    def stop(self) -> None:
        self._at = 0.0

    def close(self) -> None:
        """Stop, and let go of the timer too."""
        self._at = 0.0
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _arm(self) -> None:
        self._fires = self._at
        self._handle = self._loop.call_later(max(self._at - self._loop.time(), 0.001), self._fire)

    def _fire(self) -> None:
        self._handle = None
        if self._at == 0.0:
            return
        if self._loop.time() < self._at - 0.0005:
            self._arm()
            return
        self._at = 0.0
        self.on_late()
