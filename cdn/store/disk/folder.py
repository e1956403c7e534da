"""The folder of a disk cache: whether it is one of ours, whose it is, and in which format.

Decides what is refused, what is begun anew, and what is said of a disk that fails. Must not know entries: of the files
in the folder it reads format and secret.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from dataclasses import dataclass

from cdn.config.values import DiskConfig
from cdn.store.disk import recovery
from cdn.store.disk.files import Files
from cdn.store.disk.notes import NAME as NOTES
from cdn.store.disk.notes import NEW as NEW_NOTES
from cdn.store.disk.notes import Notes, read_notes
from cdn.store.disk.roster import NAME as ROSTER
from cdn.store.disk.roster import NEW as NEW_ROSTER
from cdn.store.disk.roster import Roster
from cdn.store.disk.segment_files import RESERVE, segment_bytes
from cdn.store.opening import StoreError

VERSION = 2
FORMAT, NEW_FORMAT, LOCK, SECRET, NEW_SECRET = "format", "format.new", "lock", "secret", "secret.new"
OURS = frozenset({FORMAT, NEW_FORMAT, LOCK, SECRET, NEW_SECRET, NOTES, NEW_NOTES, ROSTER, NEW_ROSTER})
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


@dataclass(frozen=True, slots=True)
class Claimed:
    """A folder that is this node's. `segment`: bytes of one, of which `count` fit; `whole`: no note can be missing."""

    secret: bytes
    segment: int
    count: int
    notes: list[bytes]
    whole: bool


def folder_files(path: str) -> Files:
    """The folder's files; it is made where it does not exist. OSError, StoreError."""
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


def claim(config: DiskConfig, files: Files, writers: int) -> Claimed:
    """Lock the folder for this node, and begin it where no cache is yet, for so many writers. OSError, StoreError."""
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
    return Claimed(secret, segment, (config.size - RESERVE) // segment, notes, whole)


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


def trouble(path: str, error: OSError, files: Files | None = None) -> StoreError:
    """What is said of a folder that cannot be used; where it is the disk, the cache in `files` is removed."""
    if error.errno not in _TROUBLE:
        return StoreError(_sentence(path, error))
    left = files is not None and not _void(files)
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
