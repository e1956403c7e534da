"""The disk as the rest of the node sees it: told what memory stores and removes, asked for what memory no more has.

Reading never changes memory; whoever asks puts what it is given where it belongs. Which folder may be used is
`folder`'s.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from cdn.config.values import DiskConfig
from cdn.store.disk import recovery
from cdn.store.disk._table import Table
from cdn.store.disk.files import Files
from cdn.store.disk.folder import claim, folder_files, trouble
from cdn.store.disk.notes import CutError, Notes
from cdn.store.disk.reader import ColdError, LostError, Reader, Stored
from cdn.store.disk.recovery import Recovered
from cdn.store.disk.roster import Roster
from cdn.store.disk.segment_files import MOST_SEGMENTS, RESERVE
from cdn.store.disk.segments import Segments, Storable
from cdn.store.disk.times import Times
from cdn.store.disk.writer import Writer
from cdn.store.opening import StoreError
from cdn.store.record import Draft

__all__ = ["ColdError", "Disk", "Loaded", "LostError", "open_disk"]

MOST_NOTES = 4 << 20  # bytes of the notes' file at which it is written anew
PER_OBJECT = 16 << 10  # bytes of disk for which the index has room for one object


@dataclass(slots=True)
class Loaded:
    """An entry from disk: its draft in node time, and its body, or how to read it."""

    key: bytes
    draft: Draft
    length: int
    body: bytes | None
    stored: Stored | None


class Disk:
    """One per process; `open_disk` makes it.

    `notes`: those that were found. `whole`: neither a note can be missing nor a later version of an entry, nor its
    removal; otherwise nothing of before may be used unvalidated. `keep(key)` says whether memory has this key now.
    Methods do not raise for a disk that fails: they find nothing and store nothing.
    """

    def __init__(
        self,
        files: Files,
        secret: bytes,
        table: Table,
        recovered: Recovered,
        notes: list[bytes],
        whole: bool,
        *,
        segment: int,
        count: int,
        writers: int,
        delay: float,
    ) -> None:
        self.secret = secret
        self.recovered = recovered
        self.notes = notes
        self.whole = whole and not recovered.bad
        self._files = files
        self._table = table
        self._segment = segment
        self._count = count
        self._writers = writers
        self._delay = delay
        self._notes = Notes(files)
        self._noting = threading.Lock()
        self._reader = Reader(files, table)
        self._writer: Writer | None = None
        self._times: Times | None = None
        self._segments: Segments | None = None

    def start(
        self,
        times: Times,
        room: int,
        report: Callable[[str], None],
        keep: Callable[[bytes], bool],
        notes: Callable[[], None] = lambda: None,
    ) -> None:
        """Begin to write, in a thread. `room`: bytes that may wait for the disk.

        `notes()` is called in the thread after `note_soon`; it raises OSError.
        """
        self._times = times
        self._segments = Segments(
            self._files, self._table, self._times, self._segment, self._count - self._writers, keep
        )
        self._writer = Writer(
            self._segments,
            self._table,
            self._reader,
            delay=self._delay,
            room=room,
            report=report,
            notes=notes,
        )

    # -- what memory tells ------------------------------------------------------------------------------------------

    def stored(self, entry: Storable) -> None:
        assert self._writer is not None
        self._writer.stored(entry)

    def gone(self, key: bytes) -> None:
        assert self._writer is not None
        self._writer.gone(key)

    # -- what others ask --------------------------------------------------------------------------------------------

    def has(self, key: bytes) -> bool:
        """Whether it may be there; cheap."""
        assert self._writer is not None
        return self._writer.waiting(key) is not None or self._reader.find(key) is not None

    def current(self, loaded: Loaded) -> bool:
        """Whether nothing has come in the place of what was loaded, and it was not removed."""
        assert self._writer is not None
        if loaded.stored is None:
            return self.has(loaded.key)
        stored = loaded.stored
        return self._writer.waiting(loaded.key) is None and self._reader.find(loaded.key) == (
            stored.hash,
            stored.where,
        )

    def load(self, key: bytes, now: bool = False, whole: int = 0) -> Loaded | None:
        """What is stored under this key, verified; with its body if that is at most `whole` bytes long.

        Raises ColdError where `now` and the device would have to be waited for.
        """
        assert self._writer is not None
        assert self._times is not None
        waiting = self._writer.waiting(key)
        if waiting is not None:
            return Loaded(key, waiting.draft(), waiting.body_length, waiting.read(), None)
        found = self._reader.find(key)
        if found is None:
            return None
        got = self._reader.entry(key, *found, now=now)
        if got is None:
            return None
        stored, body = got
        front = stored.front
        if body is None and front.length <= whole:
            try:
                body = stored.read(0, front.length, now)
            except LostError:
                return None
        return Loaded(key, self._times.draft(front), front.length, body, stored)

    def flush(self, timeout: float = 10.0) -> bool:
        """Everything told so far is on disk when this returns True."""
        assert self._writer is not None
        return self._writer.flush(timeout)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._files.close()

    def stats(self) -> dict[str, int]:
        """What this process has done."""
        reads = self._reader.counts
        out: dict[str, int] = {}
        if self._segments is not None and self._writer is not None:
            out |= self._segments.stats() | self._writer.stats()
        return out | {
            "reads": reads.reads,
            "read_bytes": reads.bytes,
            "read_errors": reads.errors,
            "bad_blocks": reads.damaged,
        }

    def shared_stats(self) -> dict[str, int]:
        """What is there, whoever wrote it."""
        return {
            **self._table.stats(),
            "size": self._segment * self._count + RESERVE,
            "segments": len(self._table.segments()),
        }

    # -- notes ------------------------------------------------------------------------------------------------------

    def begin_notes(self, notes: list[bytes], upto: int) -> None:
        """What the file holds from now on, and the number of the first note that is not in it."""
        self._notes.rewrite(notes)
        self._table.noted = upto
        # not before: only now it is noted that something is missing
        numbers = self.recovered.numbers | {number for _, number, _ in self._table.segments()}
        Roster(self._files).write(numbers)

    def note(self, since: Callable[[int], tuple[list[bytes], int]]) -> None:
        """Have notes durable; waits for the disk, and for other processes that do the same. OSError.

        `since(n)` gives the notes from number `n` on, and the number behind them.
        """
        with self._noting, self._files.alone():
            notes, upto = since(self._table.noted)
            try:
                if notes and self._notes.add(notes) > MOST_NOTES:
                    self._notes.rewrite(since(0)[0])
            except CutError:
                notes, upto = since(0)
                self._notes.rewrite(notes)
            self._table.noted = upto

    def note_soon(self) -> None:
        """Call `notes` of `start` in the thread, with the next batch."""
        assert self._writer is not None
        self._writer.note_soon()


def open_disk(config: DiskConfig, files: Files | None = None, writers: int = 1) -> Disk:
    """The disk tier in `config.path`, which is made where it does not exist, for so many writing processes.

    StoreError, one sentence, when the folder cannot be had, is another node's or not of this format;
    DiskTroubleError when it is the disk that fails.
    """
    path = config.path
    try:
        files = files or folder_files(path)
    except OSError as error:
        raise trouble(path, error) from None
    try:
        return _open(config, files, writers)
    except StoreError:
        files.close()
        raise
    except OSError as error:
        said = trouble(path, error, files)
        files.close()
        raise said from None


def _open(config: DiskConfig, files: Files, writers: int) -> Disk:
    claimed = claim(config, files, writers)
    objects = config.objects if config.objects is not None else max(4096, config.size // PER_OBJECT)
    table = Table(objects, claimed.secret, min(MOST_SEGMENTS, 2 * claimed.count + 16))
    recovered = recovery.recover(files, table)
    return Disk(
        files,
        claimed.secret,
        table,
        recovered,
        claimed.notes,
        claimed.whole,
        segment=claimed.segment,
        count=claimed.count,
        writers=writers,
        delay=config.write_delay / 1000,
    )
