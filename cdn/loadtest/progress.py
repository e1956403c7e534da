"""One live line while a test runs, on a terminal only.

Until there are figures, as of a generator that tells them at its end, the line says how long it has been running.
"""

from __future__ import annotations

import shutil
import threading
import time
from types import TracebackType
from typing import TextIO

from cdn.loadtest.cache_status import HITS, UNKNOWN
from cdn.loadtest.result import Moment
from cdn.loadtest.tally import Tally
from cdn.loadtest.text import duration

TICK = 0.5  # seconds


class Progress:
    """Writes over its own line; leaves none behind."""

    def __init__(self, seconds: float, out: TextIO) -> None:
        self._seconds, self._out = seconds, out
        self._terminal = out.isatty()
        self._told = threading.Event()
        self._ticking: threading.Thread | None = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end_ticking()
        self._show("")

    def begins(self, sentence: str) -> None:
        self._show(f"{sentence}, {self._seconds:g} s …")
        if self._terminal:
            self._ticking = threading.Thread(
                target=self._tick, args=(sentence, time.monotonic()), daemon=True
            )
            self._ticking.start()

    def _tick(self, sentence: str, begin: float) -> None:
        while not self._told.wait(TICK):
            gone = min(time.monotonic() - begin, self._seconds)
            self._show(f"{sentence} | {gone:.0f} of {self._seconds:g} s")

    def _end_ticking(self) -> None:
        self._told.set()
        if self._ticking is not None:
            self._ticking.join()
            self._ticking = None

    def moment(self, moment: Moment, tally: Tally) -> None:
        self._end_ticking()
        told = sum(h.count for kind, h in tally.totals.items() if kind != UNKNOWN)
        hits = sum(tally.totals[kind].count for kind in HITS if kind in tally.totals)
        ratio = f" | hits {hits / told:.1%}" if told else ""
        self._show(
            f"{moment.at + moment.seconds:.0f} of {self._seconds:g} s | {moment.answered / moment.seconds:,.0f}/s"
            f" | p50 {duration(moment.p50_us)}, p99 {duration(moment.p99_us)}{ratio} | errors {tally.failed:,}"
        )

    def _show(self, text: str) -> None:
        if self._terminal:
            # one line only: what wraps could not be written over
            self._out.write("\r\x1b[K" + text[: shutil.get_terminal_size().columns - 1])
            self._out.flush()
