"""What is told to the disk is there again: at once, after a start, moved, replaced and removed."""

from __future__ import annotations

import os
import random
import stat
import time
from pathlib import Path

import pytest

from cdn.store import StoreError
from cdn.store.disk._crc import crc32c, crc32c_by_table
from cdn.store.disk._table import Table
from cdn.store.disk.files import Files
from cdn.store.disk.reader import ColdError
from cdn.store.disk.segment_files import segment_bytes
from tests.store.disk.make import NOW, Clock, Made, body_of, check, opened


def test_crc32c_of_known_texts() -> None:
    """RFC 3720 appendix B.4, and the check value of the catalogue of CRC algorithms."""
    for data, crc in (
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
    ):
        assert crc32c(data) == crc32c_by_table(data) == crc
    data = os.urandom(100_003)
    assert crc32c(data[777:], crc32c(data[:777])) == crc32c(data) == crc32c_by_table(data)


@pytest.mark.parametrize("length", [0, 1, 16383, 16384, 16385, 65536, 300_000, 1_500_000])
def test_what_is_stored_is_found_before_and_after_it_is_written_and_after_a_start(
    tmp_path: Path, length: int
) -> None:
    disk = opened(tmp_path, delay=60_000)
    disk.stored(Made(b"k", 1, length))
    assert disk.has(b"k")
    assert check(disk, b"k") == 1
    assert disk.flush()
    assert disk.stats()["queue"] == 0
    assert check(disk, b"k") == 1
    disk.close()
    disk = opened(tmp_path)
    assert disk.recovered.records == 1
    assert check(disk, b"k") == 1
    assert not disk.has(b"other")
    assert disk.load(b"other") is None
    disk.close()


def test_everything_of_a_draft_comes_back(tmp_path: Path) -> None:
    disk = opened(tmp_path)
    made = Made(b"k", 3, 10, stamp=42)
    disk.stored(made)
    assert disk.flush()
    loaded = disk.load(b"k")
    assert loaded is not None
    assert loaded.draft == made.draft()
    disk.close()
    assert opened(tmp_path).recovered.stamp == 42


def test_it_is_written_within_the_delay_and_large_ones_at_once(tmp_path: Path) -> None:
    disk = opened(tmp_path, delay=300)
    begun = time.monotonic()
    disk.stored(Made(b"small", 1, 100))
    while disk.stats()["written"] < 1 and time.monotonic() < begun + 5:
        time.sleep(0.01)
    assert 0.25 <= time.monotonic() - begun < 2
    disk.close()
    disk = opened(tmp_path, delay=60_000)
    disk.stored(Made(b"large", 1, 600_000))
    begun = time.monotonic()
    while disk.stats()["written"] < 1 and time.monotonic() < begun + 5:
        time.sleep(0.01)
    assert time.monotonic() - begun < 2
    disk.close()


def test_the_latest_version_wins_and_what_is_removed_stays_so(tmp_path: Path) -> None:
    disk = opened(tmp_path)
    for version in (1, 2, 3):
        disk.stored(Made(b"replaced", version, 1000 * version))
        disk.stored(Made(b"removed", version, 100))
        if version == 2:
            assert disk.flush()
    disk.gone(b"removed")
    disk.gone(b"never there")
    assert check(disk, b"replaced") == 3
    assert check(disk, b"removed") is None
    assert disk.flush()
    assert check(disk, b"replaced") == 3
    disk.close()
    disk = opened(tmp_path)
    assert check(disk, b"replaced") == 3
    assert check(disk, b"removed") is None
    disk.close()


def test_a_replacement_that_is_removed_before_it_is_written_does_not_bring_the_old_one_back(
    tmp_path: Path,
) -> None:
    disk = opened(tmp_path, delay=60_000)
    disk.stored(Made(b"k", 1, 100))
    assert disk.flush()
    disk.stored(Made(b"k", 2, 100))
    disk.gone(b"k")
    assert check(disk, b"k") is None
    assert disk.flush()
    disk.close()
    assert check(opened(tmp_path), b"k") is None


def test_the_size_holds_and_what_is_used_or_in_memory_stays(tmp_path: Path) -> None:
    """Far more is stored than fits, over several rounds; the files never take more than the size."""
    size = 32 << 20
    kept = {b"warm %d" % i for i in range(20)}
    disk = opened(tmp_path, size, keep=kept.__contains__)
    rng = random.Random(3)
    for key in kept:
        disk.stored(Made(key, 1, 10_000))
    disk.stored(Made(b"read", 1, 10_000))
    most = 0
    for i in range(400):
        disk.stored(Made(b"filler %d" % i, 1, rng.randrange(100_000, 500_000)))
        if i % 5 == 0:
            assert disk.flush(30)
            assert check(disk, b"read") == 1
            most = max(most, sum(os.stat(tmp_path / name).st_blocks * 512 for name in os.listdir(tmp_path)))
    assert disk.flush(30)
    assert most <= size
    assert {key for key in kept if check(disk, key) == 1} == kept
    stats = disk.stats()
    assert stats["evictions"] > 100
    assert stats["moved"] > 20
    disk._table.audit()
    disk.close()
    disk = opened(tmp_path, size)
    assert check(disk, b"read") == 1
    assert {key for key in kept if check(disk, key) == 1} == kept
    there = [i for i in range(400) if check(disk, b"filler %d" % i) is not None]
    assert there
    assert min(there) > 100  # the oldest went
    disk._table.audit()
    disk.close()


def test_against_a_dict(tmp_path: Path) -> None:
    """Random stores, removals and starts: what is found is always the latest."""
    rng = random.Random(11)
    model: dict[bytes, int] = {}
    disk = opened(tmp_path)
    for step in range(3000):
        key = b"key %d" % rng.randrange(200)
        what = rng.random()
        if what < 0.6:
            disk.stored(Made(key, step, rng.choice([0, 10, 500, 20_000, 90_000])))
            model[key] = step
        elif what < 0.75:
            disk.gone(key)
            model.pop(key, None)
        elif what < 0.99:
            assert check(disk, key) in (model.get(key), None)
        else:
            assert disk.flush(30)
            for each in {*model, key}:
                assert check(disk, each) in (model.get(each), None)
            if rng.random() < 0.4:
                disk.close()
                disk = opened(tmp_path)
    assert disk.flush(30)
    assert sum(check(disk, key) == version for key, version in model.items()) > len(model) // 2
    disk._table.audit()
    disk.close()


def test_longer_than_a_segment_is_not_stored_and_counted(tmp_path: Path) -> None:
    disk = opened(tmp_path)
    disk.stored(Made(b"k", 1, 100))
    assert disk.flush()
    disk.stored(Made(b"k", 2, segment_bytes(32 << 20)))
    assert disk.flush()
    assert disk.stats()["too_large"] == 1
    assert check(disk, b"k") is None  # version 1 is not the latest any more
    disk.close()
    assert check(opened(tmp_path), b"k") is None


def test_ranges_are_read_by_blocks(tmp_path: Path) -> None:
    disk = opened(tmp_path)
    disk.stored(Made(b"k", 1, 1_000_000))
    assert disk.flush()
    loaded = disk.load(b"k", whole=1000)
    assert loaded is not None
    assert loaded.body is None
    assert loaded.stored is not None
    body = body_of(b"k", 1, 1_000_000)
    before = disk.stats()["read_bytes"]
    for at, n in ((0, 1), (16_383, 2), (500_000, 70_000), (999_999, 100), (1_000_000, 5)):
        assert loaded.stored.read(at, n) == body[at : at + n]
    assert disk.stats()["read_bytes"] - before < 200_000
    disk.close()


def test_what_is_in_the_page_cache_is_read_without_waiting(tmp_path: Path) -> None:
    disk = opened(tmp_path)
    disk.stored(Made(b"k", 1, 300_000))
    assert disk.flush()
    try:
        assert check(disk, b"k", now=True) == 1
    except ColdError:
        pytest.skip(f"the file system of {tmp_path} does not know RWF_NOWAIT")
    name = next(name for name in os.listdir(tmp_path) if name.endswith(".data"))
    fd = os.open(tmp_path / name, os.O_RDONLY)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)
    try:
        cold = check(disk, b"k", now=True) is None
    except ColdError:
        cold = True
    assert check(disk, b"k") == 1
    disk.close()
    assert cold


# -- clocks -----------------------------------------------------------------------------------------------------------


def lifetime(path: Path, clock: Clock) -> tuple[int, int]:
    """Age and what is left of the lifetime, in ms, as a start at this clock sees it."""
    disk = opened(path, clock=clock)
    loaded = disk.load(b"k")
    assert loaded is not None
    disk.close()
    return clock.node - loaded.draft.born, loaded.draft.fresh_until - clock.node


@pytest.fixture
def written(tmp_path: Path) -> tuple[Path, Clock]:
    clock = Clock()
    disk = opened(tmp_path, clock=clock)
    disk.stored(Made(b"k", 1, 10, fresh_for=600_000))
    assert disk.flush()
    disk.close()
    return tmp_path, clock


def test_age_goes_on_over_a_start(written: tuple[Path, Clock]) -> None:
    path, clock = written
    clock.pass_by(100_000)
    assert lifetime(path, clock) == (100_000, 500_000)


@pytest.mark.parametrize("jump", [3_600_000, -3_600_000])
def test_a_jump_of_the_wall_clock_within_a_boot_changes_nothing(
    written: tuple[Path, Clock], jump: int
) -> None:
    path, clock = written
    clock.pass_by(100_000)
    clock.wall += jump
    clock.node += jump  # of a process that started after the jump
    assert lifetime(path, clock) == (100_000, 500_000)


def test_over_a_boot_the_wall_clock_counts(written: tuple[Path, Clock]) -> None:
    path, clock = written
    clock.pass_by(100_000)
    clock.boot, clock.boot_id = 5_000, 8
    assert lifetime(path, clock) == (100_000, 500_000)


def test_from_the_future_it_is_not_fresh_and_has_no_negative_age(written: tuple[Path, Clock]) -> None:
    path, clock = written
    clock.node = clock.wall = NOW - 3_600_000
    clock.boot, clock.boot_id = 5_000, 8
    age, left = lifetime(path, clock)
    assert age >= 0
    assert left <= 0


# -- the folder ----------------------------------------------------------------------------------------------------


def test_files_are_the_owners_alone(tmp_path: Path) -> None:
    disk = opened(tmp_path / "cache")
    disk.stored(Made(b"k", 1, 10))
    assert disk.flush()
    assert stat.S_IMODE(os.stat(tmp_path / "cache").st_mode) == 0o700
    for name in os.listdir(tmp_path / "cache"):
        assert stat.S_IMODE(os.stat(tmp_path / "cache" / name).st_mode) == 0o600
    disk.close()


def test_the_folder_of_a_running_node_is_refused(tmp_path: Path) -> None:
    disk = opened(tmp_path)
    with pytest.raises(StoreError, match="in use by another node"):
        opened(tmp_path)
    disk.close()
    opened(tmp_path).close()


def test_a_foreign_folder_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(StoreError, match="not a cache of this program"):
        opened(tmp_path)
    assert os.listdir(tmp_path) == ["letter.txt"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"cdn disk cache\nformat 3\nsegment 4194304\n", "is of format 3"),
        (b"cdn disk cache\nformat 1\nsegment 4194304\n", "is of format 1"),
        (b"cdn disk cache\nformat 2\nsegment 1\n", "damaged"),
        (b"", "damaged"),
        (b"\xff" * 5000, "damaged"),
    ],
)
def test_another_format_is_refused_in_one_sentence(tmp_path: Path, content: bytes, sentence: str) -> None:
    opened(tmp_path).close()
    (tmp_path / "format").write_bytes(content)
    with pytest.raises(StoreError, match=sentence) as refused:
        opened(tmp_path)
    assert "\n" not in str(refused.value)


def test_a_folder_that_others_may_write_to_is_refused(tmp_path: Path) -> None:
    os.chmod(tmp_path, 0o777)
    with pytest.raises(StoreError, match="chmod go-w"):
        opened(tmp_path)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="create it"):
        opened(tmp_path / "a" / "b")


@pytest.mark.parametrize("name", ["lock", "secret", "format", "purges"])
def test_a_symbolic_link_is_not_followed(tmp_path: Path, name: str) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    folder = tmp_path / "cache"
    opened(folder).close()
    (folder / name).unlink()
    (folder / name).symlink_to(victim)
    with pytest.raises(StoreError, match="symbolic link"):
        opened(folder)
    assert victim.read_bytes() == b"precious"


def test_a_planted_segment_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    folder = tmp_path / "cache"
    said: list[str] = []
    disk = opened(folder, said=said)
    (folder / f"{1:016x}.data").symlink_to(victim)
    disk.stored(Made(b"k", 1, 10))
    disk.flush()
    assert victim.read_bytes() == b"precious"
    disk.close()
    disk = opened(folder)
    disk.stored(Made(b"k", 2, 10))
    assert disk.flush()
    assert check(disk, b"k") == 2
    assert victim.read_bytes() == b"precious"
    disk.close()


def test_half_made_it_is_begun_anew(tmp_path: Path) -> None:
    for name in ("lock", "secret", "format.new"):
        (tmp_path / name).write_bytes(b"")
    disk = opened(tmp_path)
    disk.stored(Made(b"k", 1, 10))
    assert disk.flush()
    disk.close()


def test_a_smaller_size_keeps_what_fits(tmp_path: Path) -> None:
    disk = opened(tmp_path, 64 << 20)
    for i in range(60):
        disk.stored(Made(b"%d" % i, 1, 900_000))
        assert disk.flush(30)
    disk.close()
    disk = opened(tmp_path, 32 << 20)
    disk.stored(Made(b"new", 1, 900_000))
    assert disk.flush(30)
    assert sum(os.stat(tmp_path / name).st_blocks * 512 for name in os.listdir(tmp_path)) <= 32 << 20
    assert check(disk, b"59") == 1
    disk.close()


# -- the index ----------------------------------------------------------------------------------------------------


def test_a_full_index_forgets_the_oldest() -> None:
    table = Table(64, bytes(16), 8)
    rng = random.Random(1)
    hashes = [rng.getrandbits(64) for _ in range(1000)]
    place = table.open_segment()
    assert place is not None
    for at, hash in enumerate(hashes):
        serial = table.pend(hash)
        assert table.settle(hash, serial, place[0] << 48 | at << 24 | 1)
    found = [at for at, hash in enumerate(hashes) if table.find(hash) is not None]
    assert len(found) == table.audit() >= 60
    assert sum(found) / len(found) > 900
    assert table.stats()["lost"] == 1000 - len(found)


def test_a_recorder_can_stand_in_for_the_files(tmp_path: Path) -> None:
    class Counting(Files):
        writes = 0

        def write(self, name, pieces, offset):  # type: ignore[no-untyped-def]
            self.writes += 1
            super().write(name, pieces, offset)

    files = Counting(str(tmp_path))
    disk = opened(tmp_path, files=files)
    disk.stored(Made(b"k", 1, 10))
    assert disk.flush()
    assert files.writes >= 4
    disk.close()
