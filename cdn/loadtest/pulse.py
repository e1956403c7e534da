"""A timer finer than that of the event loop, which knows whole milliseconds only: timerfd_create(2).

Python has it from 3.13 on; here it is called in the C library.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import time
from collections.abc import Callable

_CLOCK = time.CLOCK_MONOTONIC
_LIBC = ctypes.CDLL(None, use_errno=True)


class Pulse:
    """Calls `beat` every `period_ns` on this loop, late beats once; `close` ends it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, period_ns: int, beat: Callable[[], None]) -> None:
        self._loop, self._beat = loop, beat
        self._fd = _LIBC.timerfd_create(_CLOCK, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        seconds, rest = divmod(max(1, period_ns), 10**9)
        times = (ctypes.c_long * 4)(seconds, rest, seconds, rest)
        if _LIBC.timerfd_settime(self._fd, 0, times, None):
            error = ctypes.get_errno()
            os.close(self._fd)
            raise OSError(error, "timerfd_settime")
        loop.add_reader(self._fd, self._wake)

    def _wake(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:
            return
        self._beat()

    def close(self) -> None:
        self._loop.remove_reader(self._fd)
        os.close(self._fd)
