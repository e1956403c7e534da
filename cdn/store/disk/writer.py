"""The thread that writes: what is committed or removed in memory is on disk within the configured delay.

Decides when a batch is written, and what happens when the disk does not keep up or does not take it: serving goes on
and nothing is stored, the log says so once, and the disk is tried again every few seconds. An entry that was not
written is also removed from the index, so that nothing older comes back in its place. Must not know what is stored.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from cdn.store.disk import format as fmt
from cdn.store.disk._table import Table
from cdn.store.disk.reader import Reader
from cdn.store.disk.segment_files import Gone
from cdn.store.disk.segments import Put, Segments, Storable
from cdn.store.record import Draft

BATCH = 4 << 20  # bytes (or a quarter of the room) that are written before the delay is over
DIRECT = 256 << 10  # an entry that big is written at once
COPIED = 64 << 10  # bytes of a body that is copied when it is handed over
OVERHEAD = 1024  # what a waiting entry counts beside its size
RETRY = 3.0  # seconds between attempts on a disk that failed
MOST_GONE = 1 << 17  # removals that a disk which takes nothing may leave waiting
CLOSING = 10.0  # seconds that the last batch may take


@dataclass(slots=True)
class Counts:
    written: int = 0  # entries
    bytes: int = 0
    dropped: int = 0  # entries that were not written: no room in the queue, or the disk failed
    too_large: int = 0
    write_errors: int = 0


class Copy:
    """A short entry, so that it does not hold memory's own; there may be thousands that wait."""

    __slots__ = ("_body", "_draft", "key", "stamp")

    def __init__(self, entry: Storable) -> None:
        self.key = entry.key
        self.stamp = entry.stamp
        self._draft = entry.draft()
        self._body = entry.read()

    @property
    def head(self) -> bytes:
        return self._draft.head

    @property
    def meta(self) -> bytes:
        return self._draft.meta

    @property
    def body_length(self) -> int:
        return len(self._body)

    def draft(self) -> Draft:
        return self._draft

    def read(self, offset: int = 0, length: int | None = None) -> bytes:
        return self._body[offset:] if length is None else self._body[offset : offset + length]


class Writer:
    """`delay`: seconds until what is handed over is on its way; `room`: bytes that may wait.

    `report(sentence)` puts a line in the node's log.
    """

    def __init__(
        self,
        segments: Segments,
        table: Table,
        reader: Reader,
        *,
        delay: float,
        room: int,
        report: Callable[[str], None],
        notes: Callable[[], None],
    ) -> None:
        self._segments = segments
        self._table = table
        self._reader = reader
        self._delay = delay
        self._room = room
        self._batch = min(BATCH, room // 4)
        self._report = report
        self._notes = notes
        self._noting = False  # notes are to be written
        self._looking = False  # a file was not there
        self._lost = 0  # segments, as far as that has been said
        reader.missed = self._look_soon
        self._wake = threading.Condition()
        self._puts: deque[Put] = deque()
        self._gones = deque(Gone(hash, serial) for hash, serial in table.orphans())
        self._pending: dict[bytes, Put] = {}
        self._waiting = 0  # bytes
        self._urgent = False
        self._busy = False
        self._closing = False
        self._late = False  # the queue was full and that has been said
        self._squeezed = False
        self.failing = False
        self.counts = Counts()
        self._thread = threading.Thread(target=self._run, name="cdn-disk", daemon=True)
        self._thread.start()

    # -- what the store tells ---------------------------------------------------------------------------------------

    def stored(self, entry: Storable) -> None:
        """An entry was published. It is held, or copied where it is short, until it is on disk."""
        key = entry.key
        hash = self._table.hash(key)
        size = fmt.entry_size(len(key), len(entry.head), len(entry.meta), entry.body_length)
        size = fmt.units(size) * fmt.UNIT
        with self._wake:
            late = self._waiting > 0 and self._waiting + size + OVERHEAD > self._room  # one may always wait
            if size > self._segments.largest:
                self.counts.too_large += 1
                self._remove(key, hash)
            elif late or self.failing or self._closing:
                self.counts.dropped += 1
                self._remove(key, hash)
            else:
                held = Copy(entry) if entry.body_length <= COPIED else entry
                put = Put(key, hash, self._table.pend(hash), held, size)
                self._pending[key] = put
                self._puts.append(put)
                self._waiting += size + OVERHEAD
                self._hurry(size >= DIRECT or self._waiting >= self._batch)
            said, self._late = self._late, self._late or (late and not self.failing)
        if self._late and not said:
            self._report("the disk does not keep up: some of what is stored in memory is not written")

    def gone(self, key: bytes) -> None:
        """What was stored under exactly this key is not to be found any more."""
        with self._wake:
            self._remove(key, self._table.hash(key))

    def waiting(self, key: bytes) -> Storable | None:
        """What is on its way to the disk under this key."""
        put = self._pending.get(key)
        if put is None or not self._table.pending(put.hash, put.serial):
            return None  # written, or superseded by another process
        return put.entry

    def _remove(self, key: bytes, hash: int) -> None:
        self._pending.pop(key, None)
        serial = self._table.remove(hash)
        if serial:
            self._gones.append(Gone(hash, serial))
            self._bound_gones()
            self._hurry(False)

    def _bound_gones(self) -> None:
        """Too much is out of date to be listed: nothing that is on disk can be trusted to be the latest."""
        if len(self._gones) > MOST_GONE:
            self._gones.clear()
            self._table.clear()
            self._segments.forget_all = True

    def note_soon(self) -> None:
        """Call `notes` with the next batch."""
        with self._wake:
            self._noting = True
            self._wake.notify_all()

    def _look_soon(self) -> None:
        with self._wake:
            self._looking = True
            self._wake.notify_all()

    def _hurry(self, urgent: bool) -> None:
        if urgent and not self._urgent:
            self._urgent = True
            self._wake.notify_all()
        elif len(self._puts) + len(self._gones) == 1:
            self._wake.notify_all()

    def flush(self, timeout: float = CLOSING) -> bool:
        """Write what waits, now; False when that took longer, or the disk does not take it."""
        end = time.monotonic() + timeout
        with self._wake:
            self._urgent = True
            self._wake.notify_all()
            while self._puts or self._gones or self._noting or self._busy:
                left = end - time.monotonic()
                if left <= 0 or self.failing:
                    return False
                self._wake.wait(min(left, 0.1))
            return not self.failing

    def close(self, timeout: float = CLOSING) -> None:
        self.flush(timeout)
        with self._wake:
            self._closing = True
            self._wake.notify_all()
        self._thread.join(timeout)

    def stats(self) -> dict[str, int]:
        counts = self.counts
        return {
            "queue": len(self._puts),
            "queue_bytes": self._waiting,
            "written": counts.written,
            "written_bytes": counts.bytes,
            "dropped": counts.dropped,
            "too_large": counts.too_large,
            "write_errors": counts.write_errors,
            "failing": int(self.failing),
        }

    # -- the thread -------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            with self._wake:
                while not (
                    self._puts
                    or self._gones
                    or self._noting
                    or self._looking
                    or self._closing
                    or self.failing
                ):
                    self._wake.wait()
                self._until_due()
                if self._closing:
                    break
                puts, gones = list(self._puts), list(self._gones)
                self._puts.clear()
                self._gones.clear()
                self._urgent = False
                noting, self._noting = self._noting, False
                looking, self._looking = self._looking, False
                self._busy = True
            self._turn(puts, gones, noting, looking)
            with self._wake:
                self._busy = False
                self._wake.notify_all()
        self._end()

    def _until_due(self) -> None:
        due = time.monotonic() + (RETRY if self.failing else self._delay)
        while not self._closing and (self.failing or not self._urgent):
            left = due - time.monotonic()
            if left <= 0:
                return
            self._wake.wait(left)

    def _turn(self, puts: list[Put], gones: list[Gone], noting: bool, looking: bool) -> None:
        gones += [Gone(hash, serial) for hash, serial in self._reader.take_removed()]
        try:
            if self.failing:
                self._segments.probe()
            if noting:
                self._notes()
                noting = False
            if looking:
                self._segments.look()
            self._segments.append(puts, gones)
            self._reader.prune()
        except Exception as error:
            self._noting = self._noting or noting
            self._failed(error, puts, gones)
            return
        with self._wake:
            self.counts.written += len(puts)
            self.counts.bytes += sum(put.size for put in puts)
            self._written(puts)
            recovered, self.failing = self.failing, False
            caught_up = self._late and not self._waiting
            self._late = self._late and not caught_up
        if recovered:
            self._report("the disk takes writes again")
        if caught_up:
            self._report("the disk keeps up again")
        lost, self._lost = self._segments.lost - self._lost, self._segments.lost
        if lost:
            self._report(
                f"{lost} segments of the cache on disk were removed by others: what they held is fetched again"
            )
        if self._segments.squeezed and not self._squeezed:
            self._squeezed = True
            self._report("the file system holds less than store.disk.size: the cache on disk stays smaller")

    def _written(self, puts: list[Put]) -> None:
        for put in puts:
            self._waiting -= put.size + OVERHEAD
            if self._pending.get(put.key) is put:
                del self._pending[put.key]

    def _failed(self, error: Exception, puts: list[Put], gones: list[Gone]) -> None:
        """What was to be written is not stored. What was to be removed is logged when the disk takes it."""
        try:
            self._segments.give_up()
        except OSError:
            pass
        what = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
        with self._wake:
            self.counts.write_errors += 1
            said, self.failing = self.failing, True
            lost = [*puts, *self._puts]
            self._puts.clear()
            self.counts.dropped += len(lost)
            self._written(lost)
            for put in lost:
                serial = self._table.remove(put.hash)
                if serial:
                    gones.append(Gone(put.hash, serial))
            self._gones.extendleft(reversed(gones))
            self._bound_gones()
        if not said:
            self._report(f"the disk does not take writes ({what}): serving goes on, without storing there")

    def _end(self) -> None:
        try:
            self._segments.seal()
        except OSError as error:
            self._report(f"the disk's last segment was not closed: {error.strerror}")
