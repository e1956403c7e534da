"""Where log lines go without ever holding up the loop: a bounded buffer, and a thread that alone meets the
file.

A reader that is stuck (a full pipe, a dead NFS server) costs lines, which are counted, and never a request.
Several processes write to one target without tearing each other's lines: to a file, which takes each write whole
at its end (O_APPEND), in batches; to anything else in pieces of whole lines that the kernel does not part
(PIPE_BUF). This file does not know what a line says.
"""

from __future__ import annotations

import os
import select
import stat
import threading
import time
from collections import deque
from collections.abc import Callable

BUFFER = 4 << 20  # bytes waiting or being written
BATCH = 256 << 10  # bytes of one write
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
    return BATCH if stat.S_ISREG(os.fstat(fd).st_mode) else select.PIPE_BUF


def whole_lines(batch: bytes, begin: int, most: int) -> int:
    """Bytes from `begin` on for one write: whole lines, as many as fit; a longer one alone."""
    if len(batch) - begin <= most:
        return len(batch) - begin
    end = batch.rfind(b"\n", begin, begin + most) + 1
    if end <= begin:
        end = batch.find(b"\n", begin) + 1 or len(batch)
    return end - begin


def write_now(line: bytes) -> None:
    """One line to stderr at once, or not at all: for a process without threads that must not wait for a reader."""
    try:
        if select.select((), (2,), (), 0)[1]:
            os.write(2, line)
    except (OSError, ValueError):  # nobody is there to be told
        pass


class LineSink:
    """`write` appends whole lines to the buffer and returns at once; what does not fit is dropped and
    counted.

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
        self._buffer = buffer
        self._gather = gather
        self._on_trouble = on_trouble
        self._wake = threading.Condition(threading.Lock())
        self._chunks: deque[bytes] = deque()
        self._held = 0  # bytes in the buffer and in the write under way
        self._closing = False
        self._reopen: str | None = None
        self._troubled = False
        self._torn = False  # the last write ended inside a line
        self._dropped = self._lost = 0
        self._thread = threading.Thread(target=self._run, name=f"log to {to}", daemon=True)
        self._thread.start()

    def write(self, chunk: bytes) -> bool:
        """Queues whole lines; False when there was no room and they were dropped. Any thread; never
        blocks.
        """
        if not chunk:
            return True
        with self._wake:
            if self._closing or self._held + len(chunk) > self._buffer:
                self._dropped += chunk.count(b"\n")
                return False
            self._held += len(chunk)
            self._chunks.append(chunk)
            if len(self._chunks) == 1:
                self._wake.notify()
        return True

    def reopen(self, to: str | None = None) -> None:
        """Opens the target anew (after logrotate moved it), or another one; on failure the old one stays in
        use.
        """
        with self._wake:
            self._reopen = to or self.to
            self._wake.notify()

    def close(self, timeout: float = 2.0) -> bool:
        """Writes out what is waiting, for at most `timeout` seconds; False when something had to be left."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def counters(self) -> dict[str, int]:
        """`dropped`: lines without room; `lost`: lines whose write failed; `waiting`: bytes not written
        yet.
        """
        with self._wake:
            return {"dropped": self._dropped, "lost": self._lost, "waiting": self._held}

    # The writer thread

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._chunks and self._reopen is None and not self._closing:
                    self._wake.wait()
                reopen, self._reopen = self._reopen, None
                if self._closing and not self._chunks:
                    break
                hurry = self._closing or self._held >= BATCH
            if reopen is not None:
                self._do_reopen(reopen)
                continue
            if not hurry and self._gather:
                time.sleep(self._gather)
            batch = self._take()
            self._write_out(batch)
            with self._wake:
                self._held -= len(batch)
        os.close(self._fd)

    def _take(self) -> bytes:
        with self._wake:
            taken: list[bytes] = []
            size = 0
            while self._chunks and (not taken or size + len(self._chunks[0]) <= BATCH):
                chunk = self._chunks.popleft()
                taken.append(chunk)
                size += len(chunk)
        return b"".join(taken)

    def _write_out(self, batch: bytes) -> None:
        if self._torn:
            batch = b"\n" + batch
        left = memoryview(batch)
        try:
            while left:
                try:
                    left = left[
                        os.write(self._fd, left[: whole_lines(batch, len(batch) - len(left), self._atom)]) :
                    ]
                except BlockingIOError:  # somebody made our stdout non-blocking
                    select.select((), (self._fd,), (), 1.0)
        except OSError as error:
            self._torn = len(left) < len(batch) and batch[len(batch) - len(left) - 1] != 0x0A
            with self._wake:
                self._lost += bytes(left).count(b"\n")
            self._trouble(f"cannot write to {self.to}: {error.strerror}; lines are lost until it can")
            return
        self._torn = False
        self._troubled = False

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
        self._torn = False
        self._troubled = False

    def _trouble(self, sentence: str) -> None:
        if not self._troubled and self._on_trouble is not None:
            self._on_trouble(sentence)
        self._troubled = True
