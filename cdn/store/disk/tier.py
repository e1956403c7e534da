"""The disk as the rest of the node sees it: told what memory stores and removes, asked for what memory no more has.

Decides whether a folder is one of ours, and whose it is. Reading never changes memory; whoever asks puts what it is
given where it belongs.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import threading
from collections.abc import Callable
from dataclasses import dataclass

from cdn.config.values import DiskConfig
from cdn.store.disk import recovery
from cdn.store.disk._table import Table
from cdn.store.disk.files import Files
from cdn.store.disk.notes import NAME as NOTES
from cdn.store.disk.notes import NEW as NEW_NOTES
from cdn.store.disk.notes import CutError, Notes, read_notes
from cdn.store.disk.reader import ColdError, LostError, Reader, Stored
from cdn.store.disk.recovery import Recovered
from cdn.store.disk.roster import NAME as ROSTER
from cdn.store.disk.roster import NEW as NEW_ROSTER
from cdn.store.disk.roster import Roster
from cdn.store.disk.segment_files import MOST_SEGMENTS, RESERVE, segment_bytes
from cdn.store.disk.segments import Segments, Storable
from cdn.store.disk.times import Times
from cdn.store.disk.writer import Writer
from cdn.store.opening import StoreError
from cdn.store.record import Draft

__all__ = ["ColdError", "Disk", "Loaded", "LostError", "open_disk"]

VERSION = 2
FORMAT, NEW_FORMAT, LOCK, SECRET, NEW_SECRET = "format", "format.new", "lock", "secret", "secret.new"
OURS = frozenset({FORMAT, NEW_FORMAT, LOCK, SECRET, NEW_SECRET, NOTES, NEW_NOTES, ROSTER, NEW_ROSTER})
MOST_NOTES = 4 << 20  # bytes of the notes' file at which it is written anew
PER_OBJECT = 16 << 10  # bytes of disk for which the index has room for one object
_FORMAT = re.compile(rb"cdn disk cache\nformat (\d{1,9})\nsegment (\d{1,12})\n")


# What a disk has, and a mistake in the configuration has not.
_TROUBLE = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ENXIO, errno.ENODEV, errno.EUCLEAN}
)


class DiskTroubleError(StoreError):
    """The disk does not give a cache or take one; a node can go on without.

    `left`: a cache that could neither be read nor removed. What is purged from now on is not known to it.
    """

    def __init__(self, sentence: str, left: bool) -> None:
        super().__init__(sentence)
        self.left = left


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
        files = files or _folder(path)
    except OSError as error:
        raise _trouble(path, error, False) from None
    try:
        return _open(config, files, writers)
    except StoreError:
        files.close()
        raise
    except OSError as error:
        left = error.errno in _TROUBLE and not _void(files)
        files.close()
        raise _trouble(path, error, left) from None


def _trouble(path: str, error: OSError, left: bool) -> StoreError:
    if error.errno not in _TROUBLE:
        return StoreError(_sentence(path, error))
    what = f"store.disk.path: {path} cannot be used ({error.strerror}): serving goes on without it until the next start"
    if left:
        what += "; empty it before that, for what it holds is not told of purges"
    return DiskTroubleError(what, left)


def _void(files: Files) -> bool:
    """Whether no cache is there: one that cannot be used is removed, so that nothing comes back that is purged now."""
    try:
        names = files.names()
        if FORMAT not in names:
            return True
        if not files.locked:
            return False
        for name in names:
            if recovery.is_segment_file(name):
                files.unlink(name)
        files.unlink(FORMAT)
        files.sync_folder()
    except OSError:
        return False
    return True


def _sentence(path: str, error: OSError) -> str:
    if error.errno == errno.ENOENT:
        return f"store.disk.path: the folder for {path} does not exist: create it"
    if error.errno == errno.ELOOP:
        return (
            f"store.disk.path: {path} holds a symbolic link, which is not followed: empty it, or name another"
        )
    return f"store.disk.path: {path} cannot be used: {error.strerror or error}"


def _folder(path: str) -> Files:
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass
    files = Files(path)
    mode = files.mode()
    if mode.st_uid not in (0, os.geteuid()) or stat.S_IMODE(mode.st_mode) & 0o022:
        files.close()
        raise StoreError(
            f"store.disk.path: others may write to {path}: make it this user's own (chown) and run chmod go-w on it"
        )
    return files


def _open(config: DiskConfig, files: Files, writers: int) -> Disk:
    path = config.path
    names = files.names()
    foreign = [name for name in names if name not in OURS and not recovery.is_segment_file(name)]
    if FORMAT not in names and (foreign or any(recovery.is_segment_file(name) for name in names)):
        raise StoreError(
            f"store.disk.path: {path} holds files that are not a cache of this program ({sorted(names)[0]!r}, …): "
            "name an empty folder"
        )
    if not files.lock(LOCK):
        raise StoreError(
            f"store.disk.path: {path} is in use by another node: stop it, or name another folder"
        )
    segment = _format(files, path) if FORMAT in names else None
    wanted, least = segment_bytes(config.size, writers), writers + 3
    if (config.size - RESERVE) // wanted < least:
        raise StoreError(
            f"store.disk.size: too small for {writers} workers: give it at least "
            f"{(RESERVE + least * wanted) >> 20} MiB"
        )
    if segment is not None and (config.size - RESERVE) // segment < least:
        # the size was lowered, or there are more workers: segments of the old size are too big
        for name in files.names():
            if recovery.is_segment_file(name):
                files.unlink(name)
        files.unlink(FORMAT)
        segment = None
    notes: list[bytes] = []
    whole = True
    if segment is None:
        secret = _begin(files, wanted)
        segment = wanted
    else:
        secret = _secret(files, path)
        try:
            notes, whole = read_notes(files.read(NOTES))
        except FileNotFoundError:
            whole = False
    count = (config.size - RESERVE) // segment
    objects = config.objects if config.objects is not None else max(4096, config.size // PER_OBJECT)
    table = Table(objects, secret, min(MOST_SEGMENTS, 2 * count + 16))
    recovered = recovery.recover(files, table)
    return Disk(
        files,
        secret,
        table,
        recovered,
        notes,
        whole,
        segment=segment,
        count=count,
        writers=writers,
        delay=config.write_delay / 1000,
    )


def _begin(files: Files, segment: int) -> bytes:
    """A fresh folder; the format is written last, so that a folder half made is begun anew."""
    secret = os.urandom(16)
    Roster(files).write([])
    for name, new, content in (
        (SECRET, NEW_SECRET, secret),
        (NOTES, NEW_NOTES, None),
        (FORMAT, NEW_FORMAT, f"cdn disk cache\nformat {VERSION}\nsegment {segment}\n".encode()),
    ):
        if content is None:
            Notes(files).rewrite([])
            continue
        files.unlink(new)
        files.create(new)
        files.write(new, [content], 0)
        files.sync(new)
        files.rename(new, name)
        files.done(name)
        files.sync_folder()
    return secret


def _format(files: Files, path: str) -> int:
    """The segment size of a folder of this format."""
    match = _FORMAT.fullmatch(files.read(FORMAT)[:200])
    if match is None or (int(match[1]) == VERSION and not _sound(int(match[2]))):
        raise StoreError(
            f"store.disk.path: {path}/{FORMAT} is damaged: empty the folder, or name another; what is stored "
            "there can be fetched again"
        )
    if int(match[1]) != VERSION:
        raise StoreError(
            f"store.disk.path: {path} is of format {int(match[1])}, and this program writes format {VERSION}: "
            "empty the folder, or name another"
        )
    return int(match[2])


def _sound(segment: int) -> bool:
    return segment % (1 << 20) == 0 and (4 << 20) <= segment <= (1 << 30)


def _secret(files: Files, path: str) -> bytes:
    try:
        secret = files.read(SECRET)
    except FileNotFoundError:
        secret = b""
    if len(secret) != 16:
        raise StoreError(
            f"store.disk.path: {path}/{SECRET} is damaged: empty the folder, or name another; what is stored "
            "there can be fetched again"
        )
    return secret
