"""Where log lines go without ever holding up the loop: a bounded buffer, and a thread that alone meets the
file.

A reader that is stuck (a full pipe, a dead NFS server) costs lines, which are counted, and never a request.
Several processes write to one target without tearing each other's lines: to a file, which takes each write whole
at its end (O_APPEND), in batches; to anything else in pieces of whole lines that the kernel does not part
(PIPE_BUF). This file does not know what a line says.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import stat
import threading
from collections.abc import Callable

from cdn.control._spool import Spool

BUFFER = 4 << 20  # bytes waiting or being written
HURRY = 256 << 10  # bytes that do not wait for more
PIECE = 16 << 10  # bytes of one write: as long as it takes, the loop may have to wait for its core
GATHER = 0.02  # seconds between the first waiting byte and its write: one wake-up for many lines

_STANDARD = {"stdout": 1, "stderr": 2}
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY


def open_target(to: str) -> int:
    """A file descriptor for "stdout", "stderr" or a path (created 0640, appended to); OSError when it cannot
    be had.
    """
    standard = _STANDARD.get(to)
    if standard is not None:
        return os.dup(standard)
    # Without O_NONBLOCK the open of a FIFO that nobody reads would wait; with it that is the clean error
    # ENXIO.
    fd = os.open(to, _FLAGS | os.O_NONBLOCK, 0o640)
    os.set_blocking(fd, True)
    return fd


def atom(fd: int) -> int:
    """Bytes of one write that no other writer's come into."""
    return PIECE if stat.S_ISREG(os.fstat(fd).st_mode) else select.PIPE_BUF


def write_now(line: bytes) -> None:
    """One line to stderr at once, or not at all: for a process without threads that must not wait for a reader."""
    try:
        if select.select((), (2,), (), 0)[1]:
            os.write(2, line)
    except (OSError, ValueError):  # nobody is there to be told
        pass


class LineSink:
    """`write` takes whole lines and returns at once; what does not fit is dropped and counted.

    `on_trouble` is called from the writer thread with one sentence, once per spell of trouble.
    """

    def __init__(
        self,
        to: str,
        *,
        buffer: int = BUFFER,
        gather: float = GATHER,
        on_trouble: Callable[[str], None] | None = None,
    ) -> None:
        self.to = to
        self._fd = open_target(to)
        self._atom = atom(self._fd)
        self._gather = gather
        self._on_trouble = on_trouble
        self._spool = Spool(buffer)
        self._orders = threading.Lock()
        self._closing = False
        self._reopen: str | None = None
        self._troubled = False
        self._batches = 0  # written when the last trouble was told
        self._thread = threading.Thread(target=self._run, name=f"log to {to}", daemon=True)
        self._thread.start()

    def write(self, chunk: bytes) -> bool:
        """Queues whole lines; False when there was no room and they were dropped. Any thread; never
        blocks.
        """
        return not chunk or self._spool.add(chunk)

    def reopen(self, to: str | None = None) -> None:
        """Opens the target anew (after logrotate moved it), or another one; on failure the old one stays in
        use.
        """
        with self._orders:
            self._reopen = to or self.to
        self._spool.tell()

    def close(self, timeout: float = 2.0) -> bool:
        """Writes out what is waiting, for at most `timeout` seconds; False when something had to be left."""
        self._closing = True
        self._spool.end()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def counters(self) -> dict[str, int]:
        """`dropped`: lines without room; `lost`: lines whose write failed; `waiting`: bytes not written
        yet.
        """
        return self._spool.counters()

    # The writer thread

    def _run(self) -> None:
        with contextlib.suppress(OSError):  # as bulk work: its wake-ups take the core from nobody
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
        while True:
            if fault := self._spool.serve(self._fd, self._atom, self._gather, HURRY):
                self._failed(fault)
                continue
            with self._orders:
                reopen, self._reopen = self._reopen, None
            if reopen is not None:
                self._do_reopen(reopen)
            if self._closing:
                break
        while fault := self._spool.flush(self._fd, self._atom):
            self._failed(fault)
        os.close(self._fd)

    def _failed(self, fault: int) -> None:
        if fault == errno.EAGAIN:  # somebody made our stdout non-blocking
            select.select((), (self._fd,), (), 1.0)
            return
        self._spool.give_up()
        self._trouble(f"cannot write to {self.to}: {os.strerror(fault)}; lines are lost until it can")

    def _do_reopen(self, to: str) -> None:
        try:
            fd = open_target(to)
        except OSError as error:
            self._trouble(f"cannot open {to}: {error.strerror}; still writing to the old file")
            return
        os.close(self._fd)
        self._fd = fd
        self._atom = atom(fd)
        self.to = to
        self._spool.reopened()
        self._troubled = False

    def _trouble(self, sentence: str) -> None:
        if self._batches != self._spool.batches:
            self._batches, self._troubled = self._spool.batches, False
        if not self._troubled and self._on_trouble is not None:
            self._on_trouble(sentence)
        self._troubled = True
