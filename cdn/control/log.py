"""The node's own log: one bounded line an event, and a bound on the lines of each kind, whatever a client
sends.

A hostile peer that causes a million errors causes a handful of lines and one count. Tracebacks are for us
alone: they are printed only with CDN_DEBUG=1. Nothing here knows what the events mean.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

LINE = 1024  # characters of one message
BURST = 5  # lines of one kind in a period
PERIOD = 10.0  # seconds
KINDS = 256  # kinds that are told apart; what comes later shares one

_LEVELS = {"info": "", "warning": "warning: ", "error": "error: "}


def one_line(text: str, limit: int = LINE) -> str:
    """`text` with everything that is not printable ASCII escaped, and cut at `limit` characters."""
    if len(text) > limit:
        text = text[:limit]
    if not (text.isascii() and text.isprintable()):
        text = text.encode("unicode_escape").decode("ascii")
    return text if len(text) <= limit else text[: limit - 3] + "..."


class _Kind:
    __slots__ = ("since", "suppressed", "written")

    def __init__(self, since: float) -> None:
        self.since = since
        self.written = 0
        self.suppressed = 0


class NodeLog:
    """`event(kind, message)` writes at most BURST lines of a kind per PERIOD, and then how many more there
    were.

    `write` takes one encoded line and must not block; by default it is stderr.
    """

    def __init__(
        self,
        write: Callable[[bytes], object] | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._write = write or _to_stderr
        self._clock = clock
        self._wall = wall
        self._kinds: dict[str, _Kind] = {}
        self._counts: dict[str, int] = {}

    def event(self, kind: str, message: str, level: str = "info") -> None:
        """Counts one event and writes its line when the kind still may; any thread."""
        if kind not in self._kinds and len(self._kinds) >= KINDS:
            kind = "other"
        self._counts[kind] = self._counts.get(kind, 0) + 1
        now = self._clock()
        state = self._kinds.get(kind)
        if state is None:
            state = self._kinds[kind] = _Kind(now)
        if now - state.since >= PERIOD:
            more, state.suppressed = state.suppressed, 0
            state.since, state.written = now, 0
            if more:
                self._line(f"{kind}: {more} more such lines were not written", "info")
        if state.written >= BURST:
            state.suppressed += 1
            return
        state.written += 1
        self._line(message, level)

    def say(self, message: str) -> None:
        """Writes a line that no peer can cause (start, reload, end): without a bound on their number."""
        self._line(message, "info")

    def flush(self) -> None:
        """Writes the counts that are still held back; at the end of the node."""
        for kind, state in self._kinds.items():
            if state.suppressed:
                self._line(f"{kind}: {state.suppressed} more such lines were not written", "info")
                state.suppressed = 0

    def counts(self) -> dict[str, int]:
        """Events so far by kind, the suppressed ones included; at most KINDS + 1 keys."""
        return dict(self._counts)

    def _line(self, message: str, level: str) -> None:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._wall()))
        self._write(f"{stamp} {_LEVELS[level]}{one_line(message)}\n".encode())


def _to_stderr(line: bytes) -> None:
    try:
        sys.stderr.buffer.write(line)
        sys.stderr.buffer.flush()
    except (OSError, ValueError):  # nobody is there to be told
        pass


class _Bridge(logging.Handler):
    """The stdlib loggers of asyncio and aiohttp: one event each, the exception named in the same line."""

    def __init__(self, log: NodeLog) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage().split("\n", 1)[0]
        except Exception:
            message = str(record.msg)
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            message += f": {describe(error)}"
        level = "error" if record.levelno >= logging.ERROR else "warning"
        self._log.event(f"{record.name}: {str(record.msg)[:60]}", f"{record.name}: {message}", level)
        if error is not None and debugging():
            traceback.print_exception(error)


def describe(error: BaseException) -> str:
    """An exception in one line: its class and its text."""
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def debugging() -> bool:
    return os.environ.get("CDN_DEBUG") == "1"


def take_over_logging(log: NodeLog) -> None:
    """Every library of this process logs through `log` from here on."""
    root = logging.getLogger()
    for handler in root.handlers[:]:
        root.removeHandler(handler)
    root.addHandler(_Bridge(log))
    root.setLevel(logging.WARNING)


def loop_exception_handler(log: NodeLog) -> Callable[[asyncio.AbstractEventLoop, dict[str, Any]], None]:
    """For `loop.set_exception_handler`: an exception that nobody awaited is one bounded line."""

    def handle(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        message = str(context.get("message", "unhandled exception"))
        text = f"{message}: {describe(error)}" if isinstance(error, BaseException) else message
        log.event(f"loop: {message[:60]}", text, "error")
        if isinstance(error, BaseException) and debugging():
            traceback.print_exception(error)

    return handle
