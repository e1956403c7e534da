"""A small file system of its own for a test, which can be full, or read-only."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_READ_ONLY, _REMOUNT, _DETACH = 1, 32, 2


def _mount(target: Path, flags: int, size: str) -> bool:
    libc = ctypes.CDLL(None, use_errno=True)
    options = f"size={size},mode=700".encode()
    return libc.mount(b"tmpfs", str(target).encode(), b"tmpfs", flags, options) == 0


@contextmanager
def mounted(target: Path, size: str) -> Iterator[Path]:
    """A tmpfs of `size` (`8m`) on a new folder; skips where mounting is not allowed, which needs root."""
    target.mkdir(mode=0o700)
    if not _mount(target, 0, size):
        pytest.skip(f"mounting a file system of {size} needs root: not tested here")
    try:
        yield target
    finally:
        ctypes.CDLL(None).umount2(str(target).encode(), _DETACH)


def make_read_only(target: Path, size: str) -> None:
    assert _mount(target, _READ_ONLY | _REMOUNT, size)


def fill(file: Path) -> None:
    """OSError when the file system is full."""
    with file.open("wb") as out:
        while True:
            out.write(bytes(1 << 20))
            out.flush()
