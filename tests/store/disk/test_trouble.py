"""A disk that is full, slow, read-only or broken: serving without storing, one line in the log, and back by itself."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from cdn.store import StoreError
from cdn.store.disk import writer as writer_module
from cdn.store.disk.files import Bytes, Files
from cdn.store.disk.folder import DiskTroubleError
from tests.harness.mounting import mounted
from tests.store.disk.make import Made, check, opened


class Moody(Files):
    """`error` is what every write gives; `gate` holds writes up while it is cleared."""

    error: int | None = None

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.gate = threading.Event()
        self.gate.set()

    def write(self, name: str, pieces: Sequence[Bytes], offset: int) -> None:
        self.gate.wait(30)
        if self.error is not None:
            raise OSError(self.error, os.strerror(self.error))
        super().write(name, pieces, offset)

    def sync(self, name: str) -> None:
        if self.error is not None:
            raise OSError(self.error, os.strerror(self.error))
        super().sync(name)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT])
def test_errors_are_said_once_and_it_recovers(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "RETRY", 0.05)
    files = Moody(str(tmp_path))
    said: list[str] = []
    disk = opened(tmp_path, files=files, said=said, delay=10)
    disk.stored(Made(b"before", 1, 100))
    disk.stored(Made(b"replaced", 1, 100))
    assert disk.flush()
    files.error = number
    for i in range(5):
        disk.stored(Made(b"during %d" % i, 1, 100))
        disk.stored(Made(b"replaced", 2 + i, 100))
        disk.gone(b"before")
        time.sleep(0.1)
    assert not disk.flush(0.2)
    assert disk.stats()["failing"] == 1
    assert disk.stats()["dropped"] >= 5
    assert disk.stats()["write_errors"] > 1
    assert len(said) == 1
    assert os.strerror(number) in said[0]
    for key in (b"before", b"replaced", b"during 0"):
        assert check(disk, key) is None  # the old version is not the latest
    files.error = None
    end = time.monotonic() + 10
    while disk.stats()["failing"] and time.monotonic() < end:
        time.sleep(0.02)
    disk.stored(Made(b"after", 1, 100))
    assert disk.flush()
    assert len(said) == 2
    assert "again" in said[1]
    disk.close()
    disk = opened(tmp_path)
    assert check(disk, b"after") == 1
    assert check(disk, b"before") is None
    assert check(disk, b"replaced") is None
    disk.close()


def test_a_slow_disk_holds_nobody_up(tmp_path: Path) -> None:
    files = Moody(str(tmp_path))
    said: list[str] = []
    disk = opened(tmp_path, files=files, said=said, delay=10, room=1 << 20)
    disk.stored(Made(b"k", 1, 100))
    assert disk.flush()
    files.gate.clear()
    slowest = 0.0
    for i in range(300):
        begun = time.monotonic()
        disk.stored(Made(b"%d" % i, 1, 10_000))
        slowest = max(slowest, time.monotonic() - begun)
    assert slowest < 0.5
    stats = disk.stats()
    assert stats["queue_bytes"] <= 1 << 20
    assert stats["dropped"] >= 190
    assert len(said) == 1
    assert "keep up" in said[0]
    files.gate.set()
    assert disk.flush()
    assert sum(check(disk, b"%d" % i) == 1 for i in range(300)) == 300 - stats["dropped"]
    assert len(said) == 2
    disk.close()


def test_removals_that_pile_up_void_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More is out of date than can be remembered: nothing old is trusted, now or after a start."""
    monkeypatch.setattr(writer_module, "MOST_GONE", 50)
    monkeypatch.setattr(writer_module, "RETRY", 0.05)
    files = Moody(str(tmp_path))
    disk = opened(tmp_path, files=files, delay=10)
    for i in range(200):
        disk.stored(Made(b"%d" % i, 1, 10))
    assert disk.flush()
    files.error = errno.EIO
    for i in range(100):
        disk.gone(b"%d" % i)
    assert not any(disk.has(b"%d" % i) for i in range(100))
    files.error = None
    end = time.monotonic() + 10
    while not disk.flush() and time.monotonic() < end:
        time.sleep(0.05)
    disk.stored(Made(b"new", 1, 10))
    assert disk.flush()
    disk.close()
    disk = opened(tmp_path)
    assert not any(disk.has(b"%d" % i) for i in range(200))
    assert check(disk, b"new") == 1
    disk.close()


class Failing(Files):
    """Cannot read one of its files; `stuck`: nor remove any."""

    def __init__(self, path: str, name: str, stuck: bool) -> None:
        super().__init__(path)
        self._name, self._stuck = name, stuck

    def read(self, name: str) -> bytes:
        if name == self._name:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return super().read(name)

    def unlink(self, name: str) -> None:
        if self._stuck:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        super().unlink(name)


@pytest.mark.parametrize("name", ["format", "secret", "purges"])
@pytest.mark.parametrize("stuck", [False, True])
def test_a_cache_that_cannot_be_read_at_the_start_does_not_come_back(
    tmp_path: Path, name: str, stuck: bool
) -> None:
    """Purges of meanwhile would be unknown to it: it is removed, or whoever starts without it is told."""
    disk = opened(tmp_path)
    disk.stored(Made(b"k", 1, 100))
    assert disk.flush()
    disk.close()
    with pytest.raises(DiskTroubleError, match="Input/output error") as trouble:
        opened(tmp_path, files=Failing(str(tmp_path), name, stuck))
    assert trouble.value.left == stuck
    assert ("empty it before" in str(trouble.value)) == stuck
    disk = opened(tmp_path)
    assert check(disk, b"k") == (1 if stuck else None)
    disk.close()


def test_a_locked_folder_is_left_alone_whatever_fails(tmp_path: Path) -> None:
    disk = opened(tmp_path)
    disk.stored(Made(b"k", 1, 100))
    assert disk.flush()
    with pytest.raises(StoreError, match="in use by another node"):
        opened(tmp_path, files=Failing(str(tmp_path), "format", False))
    assert check(disk, b"k") == 1
    disk.close()


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB."""
    with mounted(tmp_path / "tiny", "8m") as target:
        yield target


def test_a_file_system_smaller_than_the_size(tiny: Path) -> None:
    """8 MiB where 32 are configured: it stays smaller, goes on storing and says so once."""
    said: list[str] = []
    disk = opened(tiny, said=said)
    for i in range(100):
        disk.stored(Made(b"%d" % i, 1, 300_000))
        disk.flush()
    assert check(disk, b"99") == 1
    assert sum(check(disk, b"%d" % i) == 1 for i in range(100)) >= 5
    assert len(said) == 1
    assert "smaller" in said[0]
    disk.close()


def test_a_file_system_that_others_fill(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "RETRY", 0.05)
    said: list[str] = []
    disk = opened(tiny, said=said)
    (tiny / "ballast").write_bytes(bytes(7 << 20))
    for i in range(30):
        disk.stored(Made(b"%d" % i, 1, 300_000))
        disk.flush()
    assert disk.stats()["failing"] == 1
    assert [line for line in said if "does not take writes" in line] == said[:1] == said
    (tiny / "ballast").unlink()
    end = time.monotonic() + 10
    while disk.stats()["failing"] and time.monotonic() < end:
        time.sleep(0.02)
    disk.stored(Made(b"again", 1, 300_000))
    assert disk.flush()
    assert check(disk, b"again") == 1
    disk.close()


def test_reads_that_fail_are_misses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = opened(tmp_path)
    disk.stored(Made(b"k", 1, 100_000))
    assert disk.flush()

    def broken(*_: object) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "pread", broken)
    assert disk.load(b"k") is None
    monkeypatch.undo()
    assert disk.stats()["read_errors"] == 1
    assert not disk.has(b"k")
    disk.close()
