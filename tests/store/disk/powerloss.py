"""What a power loss leaves: a recorder in the place of the write seam, and replays of what it saw.

A write that was not synced is cut into the 4 KiB pages it touches; each of them is there or not, in any order, and
where it is not there lies what was there before, zeros or garbage. Files that were created, renamed or unlinked without
a sync of the folder are as before or as after, each for itself or up to some point in time.
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cdn.store.disk.files import Bytes, Files

PAGE = 4096


class Recorder(Files):
    """Does what `Files` does and writes it down."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.ops: list[tuple[Any, ...]] = []

    def create(self, name: str, room: int = 0) -> None:
        super().create(name, room)
        self.ops.append(("create", name, room))

    def write(self, name: str, pieces: Sequence[Bytes], offset: int) -> None:
        self.ops.append(("write", name, offset, b"".join(pieces)))
        super().write(name, pieces, offset)

    def sync(self, name: str) -> None:
        super().sync(name)
        self.ops.append(("sync", name))

    def truncate(self, name: str, length: int) -> None:
        self.ops.append(("truncate", name, length))
        super().truncate(name, length)

    def rename(self, old: str, new: str) -> None:
        self.ops.append(("rename", old, new))
        super().rename(old, new)

    def unlink(self, name: str) -> None:
        self.ops.append(("unlink", name))
        super().unlink(name)

    def sync_folder(self) -> None:
        super().sync_folder()
        self.ops.append(("sync_folder",))


@dataclass
class _File:
    size: int = 0
    pages: dict[int, bytes] = field(default_factory=dict)
    pending: list[tuple[Any, ...]] = field(default_factory=list)

    def apply(self, op: tuple[Any, ...]) -> None:
        if op[0] == "size":
            self.size = op[1]
            self.pages = {at: page for at, page in self.pages.items() if at < self.size}
            return
        _, offset, data = op
        at = offset // PAGE * PAGE
        page = bytearray(self.pages.get(at, bytes(PAGE)))
        page[offset - at : offset - at + len(data)] = data
        self.pages[at] = bytes(page)
        self.size = max(self.size, offset + len(data))

    def crash(self, rng: random.Random) -> None:
        """Some of what was not synced has reached the disk."""
        how = rng.random()
        chance = 0.0 if how < 0.15 else 1.0 if how < 0.3 else rng.random()
        ops = list(self.pending)
        if rng.random() < 0.5:
            rng.shuffle(ops)
        for op in ops:
            if rng.random() < chance:
                self.apply(op)
            elif op[0] == "page" and op[1] % PAGE == 0 and op[1] not in self.pages and rng.random() < 0.2:
                # the file was made longer, the data did not come
                self.apply(("page", op[1], rng.randbytes(len(op[2]))))
        self.pending = []


class Replay:
    """The folder as the first `count` operations left it, and a power loss then."""

    def __init__(self, ops: Sequence[tuple[Any, ...]], count: int, rng: random.Random) -> None:
        self._rng = rng
        self._now: dict[str, _File] = {}  # as a running system sees it
        self._safe: dict[str, _File] = {}  # which of that the folder is sure to have
        self._moves: list[tuple[Any, ...]] = []
        for op in ops[:count]:
            getattr(self, "_" + op[0])(*op[1:])

    def _create(self, name: str, room: int) -> None:
        file = self._now[name] = _File()
        if room:
            file.pending.append(("size", room))
        self._moves.append(("link", name, file))

    def _write(self, name: str, offset: int, data: bytes) -> None:
        at = 0
        while at < len(data):
            here = min(PAGE - (offset + at) % PAGE, len(data) - at)
            self._now[name].pending.append(("page", offset + at, data[at : at + here]))
            at += here

    def _sync(self, name: str) -> None:
        file = self._now[name]
        for op in file.pending:
            file.apply(op)
        file.pending = []

    def _truncate(self, name: str, length: int) -> None:
        self._now[name].pending.append(("size", length))

    def _rename(self, old: str, new: str) -> None:
        file = self._now[new] = self._now.pop(old)
        self._moves.append(("rename", old, new, file))

    def _unlink(self, name: str) -> None:
        if self._now.pop(name, None) is not None:
            self._moves.append(("unlink", name))

    def _sync_folder(self) -> None:
        for move in self._moves:
            self._apply(move)
        self._moves = []

    def _apply(self, move: tuple[Any, ...]) -> None:
        if move[0] == "link":
            self._safe[move[1]] = move[2]
        elif move[0] == "rename":
            self._safe.pop(move[1], None)
            self._safe[move[2]] = move[3]
        else:
            self._safe.pop(move[1], None)

    def leave(self, folder: Path) -> None:
        """Write what is left into a new folder."""
        rng = self._rng
        moves = self._moves
        if rng.random() < 0.5:
            moves = moves[: rng.randint(0, len(moves))]
        else:
            moves = [move for move in moves if rng.random() < 0.5]
        for move in moves:
            self._apply(move)
        folder.mkdir(mode=0o700)
        for name, file in self._safe.items():
            file.crash(rng)
            fd = os.open(folder / name, os.O_CREAT | os.O_WRONLY, 0o600)
            for at, page in file.pages.items():
                os.pwrite(fd, page, at)
            os.ftruncate(fd, file.size)
            os.close(fd)
