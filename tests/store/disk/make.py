"""Entries that name themselves, a clock that is set, and a disk over a folder of a test."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cdn.config.values import DiskConfig
from cdn.store import Draft
from cdn.store.disk.files import Files
from cdn.store.disk.tier import Disk, open_disk
from cdn.store.disk.times import Times

NOW = 1_800_000_000_000


def body_of(key: bytes, version: int, length: int) -> bytes:
    """Names its key and version and cannot be mistaken for another."""
    seed = hashlib.sha256(key + b"/%d" % version).digest()
    text = b"%s v%d " % (key, version)
    return (text + seed * (length // 32 + 1))[:length]


@dataclass
class Made:
    """What the disk is told to store."""

    key: bytes
    version: int
    length: int
    stamp: int = 1
    born: int = NOW
    fresh_for: int = 60_000

    @property
    def head(self) -> bytes:
        return b"HTTP/1.1 200 OK\r\nX-Version: %d\r\n" % self.version

    @property
    def meta(self) -> bytes:
        return b"meta of %s" % self.key

    @property
    def body_length(self) -> int:
        return self.length

    def draft(self) -> Draft:
        return Draft(
            status=200,
            head=self.head,
            status_line_len=17,
            born=self.born,
            fresh_until=self.born + self.fresh_for,
            swr_until=self.born + self.fresh_for + 5_000,
            sie_until=self.born + self.fresh_for + 10_000,
            response_time=self.born,
            flags=4,
            stamp=self.stamp,
            last_modified=1_700_000_000,
            etag_offset=3,
            etag_len=4,
            lines_304=5,
            meta=self.meta,
        )

    def read(self, offset: int = 0, length: int | None = None) -> bytes:
        body = body_of(self.key, self.version, self.length)
        return body[offset:] if length is None else body[offset : offset + length]


class Clock:
    """Node, wall and boot time, each set by itself."""

    def __init__(self) -> None:
        self.node = self.wall = NOW
        self.boot = 1_000_000
        self.boot_id = 7

    def pass_by(self, ms: int) -> None:
        self.node += ms
        self.wall += ms
        self.boot += ms

    def times(self) -> Times:
        return Times(lambda: self.node, lambda: self.wall, lambda: self.boot, self.boot_id)


def opened(
    path: Path | str,
    size: int = 32 << 20,
    *,
    clock: Clock | None = None,
    files: Files | None = None,
    delay: int = 20,
    objects: int | None = None,
    keep: Callable[[bytes], bool] = lambda key: False,
    said: list[str] | None = None,
    room: int = 64 << 20,
) -> Disk:
    disk = open_disk(DiskConfig(str(path), size, delay, objects), files)
    lines: list[str] = [] if said is None else said
    disk.start((clock or Clock()).times(), room, lines.append, keep)
    return disk


def version_in(head: bytes) -> int:
    return int(head.split(b"X-Version: ")[1].split(b"\r\n")[0])


def check(disk: Disk, key: bytes, **how: Any) -> int | None:
    """The version that the disk has of a key, every byte of it as it was stored; None: it has none."""
    loaded = disk.load(key, whole=how.pop("whole", 64 << 20), **how)
    if loaded is None:
        return None
    version = version_in(loaded.draft.head)
    made = Made(key, version, loaded.length)
    assert loaded.key == key
    assert loaded.body == made.read()
    assert (loaded.draft.head, loaded.draft.meta) == (made.head, made.meta)
    return version


class Notebook:
    """Notes of a test: written here, then made durable."""

    def __init__(self, disk: Disk, notes: list[bytes] | None = None) -> None:
        self._disk = disk
        self.notes = [] if notes is None else notes
        disk.begin_notes(self.notes, len(self.notes))

    def add(self, note: bytes) -> None:
        self.notes.append(note)
        self._disk.note(lambda since: (self.notes[since:], len(self.notes)))
