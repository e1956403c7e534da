"""Damage to what lies on disk: bits, lengths, whole files. Never a wrong byte; what is damaged is a miss and goes."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest

from cdn.store import StoreError
from cdn.store.disk import notes
from cdn.store.disk.reader import LostError
from cdn.store.disk.tier import Disk
from tests.store.disk.make import Made, Notebook, check, opened

KEYS = {b"small": 200, b"empty": 0, b"block": 16_384, b"longer": 40_000}


SHORTER = {b"small": 200, b"empty": 0, b"longer": 16_384 + 300}  # a whole block and a part of one


def filled(path: Path, keys: dict[bytes, int] = KEYS) -> Path:
    disk = opened(path)
    for key, length in keys.items():
        disk.stored(Made(key, 1, length))
    disk.stored(Made(b"old", 1, 50))
    assert disk.flush()
    disk.stored(Made(b"old", 2, 50))
    disk.stored(Made(b"removed", 1, 50))
    assert disk.flush()
    disk.gone(b"removed")
    Notebook(disk).add(b"a purge")
    assert disk.flush()
    disk.close()
    return path


def all_right(disk: Disk, keys: dict[bytes, int] = KEYS) -> int:
    """How many keys are found; every one of them right."""
    found = [check(disk, key) for key in keys]
    assert set(found) <= {1, None}
    if disk.whole:  # else nothing is used before it is validated
        assert check(disk, b"old") in (2, None)
        assert check(disk, b"removed") is None
    return sum(version is not None for version in found)


def segment_files(path: Path) -> list[str]:
    return sorted(name for name in os.listdir(path) if name[0] == "0")


def flip_each(tmp_path: Path, sample: int | None) -> None:
    keys = SHORTER if sample is None else KEYS
    source = filled(tmp_path / "source", keys)
    shutil.copytree(source, tmp_path / "damaged")
    rng = random.Random(5)
    seen = {"miss": 0, "whole": 0, "refused": 0, "bad": 0}
    for name in [*segment_files(source), "format", "secret", "purges"]:
        good = (source / name).read_bytes()
        places = range(len(good))
        for at in places if sample is None else sorted(rng.sample(places, min(sample, len(good)))):
            bad = bytearray(good)
            bad[at] ^= 1 << rng.randrange(8)
            for each in os.listdir(source):  # each start cleans up behind the last
                shutil.copyfile(source / each, tmp_path / "damaged" / each)
            (tmp_path / "damaged" / name).write_bytes(bad)
            try:
                disk = opened(tmp_path / "damaged")
            except StoreError:
                assert name == "format"
                seen["refused"] += 1
                continue
            if name == "purges":
                assert not disk.whole
            found = all_right(disk, keys)
            seen["whole" if found == len(keys) else "miss"] += 1
            seen["bad"] += disk.stats()["bad_blocks"]
            disk.close()
            for each in os.listdir(tmp_path / "damaged"):
                os.unlink(tmp_path / "damaged" / each)
    assert seen["miss"]
    assert seen["refused"]
    assert seen["bad"]


def test_flipped_bits(tmp_path: Path) -> None:
    flip_each(tmp_path, 60)


@pytest.mark.full
@pytest.mark.timeout(3600)
def test_each_byte_flipped(tmp_path: Path) -> None:
    """A bit of every byte of every file of a small cache."""
    flip_each(tmp_path, None)


def test_truncated_at_any_length(tmp_path: Path) -> None:
    source = filled(tmp_path / "source")
    rng = random.Random(6)
    for name in segment_files(source):
        size = os.path.getsize(source / name)
        for length in sorted(rng.sample([n for n in range(size) if n % 64], 25)):  # within a record of a log
            left = tmp_path / "left"
            shutil.copytree(source, left)
            os.truncate(left / name, length)
            disk = opened(left)
            all_right(disk)
            disk.close()
            shutil.rmtree(left)


def boundaries(path: Path) -> list[tuple[str, int]]:
    """Every length at which a log or the purges end with a whole record, but not where they really end."""
    out = []
    for name in segment_files(path):
        if name.endswith(".log"):
            out += [(name, length) for length in range(0, os.path.getsize(path / name), 64)]
    data = (path / "purges").read_bytes()
    at = notes.HEAD
    while at < len(data):
        out.append(("purges", at))
        at += 8 + int.from_bytes(data[at : at + 4], "little")
    assert at == len(data)
    return out


def test_cut_where_a_record_ends(tmp_path: Path) -> None:
    """As sound as can be, but for what is missing: that is noticed, and what is left is not trusted unvalidated."""
    source = filled(tmp_path / "source")
    cuts = boundaries(source)
    assert len(cuts) > 8
    for name, length in cuts:
        left = tmp_path / "left"
        shutil.copytree(source, left)
        os.truncate(left / name, length)
        disk = opened(left)
        assert not disk.whole, (name, length)
        all_right(disk)
        disk.close()
        shutil.rmtree(left)


@pytest.mark.parametrize("kind", ["data", "log"])
def test_a_missing_file_brings_nothing_back(tmp_path: Path, kind: str) -> None:
    """Two lives, so that what was replaced and what replaced it lie in different segments."""
    path = tmp_path / "cache"
    disk = opened(path)
    for key in (b"old", b"removed"):
        disk.stored(Made(key, 1, 50))
    assert disk.flush()
    disk.close()
    disk = opened(path)
    disk.stored(Made(b"old", 2, 50))
    disk.gone(b"removed")
    assert disk.flush()
    disk.close()
    newest = segment_files(path)[-1]
    os.unlink(path / f"{newest.partition('.')[0]}.{kind}")
    disk = opened(path)
    assert disk.whole == (kind == "data")  # the log says what is gone; nobody says what the log said
    if disk.whole:
        assert check(disk, b"old") is None
        assert check(disk, b"removed") is None
    disk.close()


@pytest.mark.parametrize("damage", ["cut", "deleted", "head"])
def test_purges_that_are_damaged_while_open_are_written_anew(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "cache"
    disk = opened(path)
    notebook = Notebook(disk)
    said = [b"purge %d" % i for i in range(3)]
    for note in said[:2]:
        notebook.add(note)
    if damage == "cut":
        os.truncate(path / "purges", os.path.getsize(path / "purges") - 8 - len(said[1]))
    elif damage == "deleted":
        os.unlink(path / "purges")
    else:
        with open(path / "purges", "r+b") as file:
            file.write(b"?")
    notebook.add(said[2])
    disk.close()
    disk = opened(path)
    assert disk.whole
    assert disk.notes == said
    disk.close()


def test_exchanged_files(tmp_path: Path) -> None:
    """A data file under another one's name: right checksums, wrong place."""
    path = tmp_path / "cache"
    disk = opened(path)
    for version in (1, 2):
        disk.stored(Made(b"k", version, 5_000))
        assert disk.flush()
        disk.close()
        disk = opened(path)
    disk.close()
    one, two = (name for name in segment_files(path) if name.endswith(".data"))
    os.rename(path / one, path / "x")
    os.rename(path / two, path / one)
    os.rename(path / "x", path / two)
    disk = opened(path)
    assert check(disk, b"k") is None
    disk.close()


def test_an_entry_copied_over_another(tmp_path: Path) -> None:
    """Same file, same length, sound in itself: but it says where it belongs, and whose it is."""
    path = tmp_path / "cache"
    disk = opened(path)
    for key in (b"a", b"b"):
        disk.stored(Made(key, 1, 5_000))
    assert disk.flush()
    name = next(name for name in segment_files(path) if name.endswith(".data"))
    data = (path / name).read_bytes()
    first, second = data.index(b"cdnE"), data.index(b"cdnE", data.index(b"cdnE") + 1)
    with open(path / name, "r+b") as file:
        file.seek(second)
        file.write(data[first:second])
    assert check(disk, b"a") == 1
    assert check(disk, b"b") is None
    disk.close()


def test_while_it_is_open(tmp_path: Path) -> None:
    """Overwritten: a miss, once, and out of the index. Deleted: what is open can still be read. Both stay harmless."""
    path = tmp_path / "cache"
    disk = opened(path)
    for key, length in KEYS.items():
        disk.stored(Made(key, 1, length))
    assert disk.flush()
    loaded = disk.load(b"longer", whole=0)
    assert loaded is not None
    name = next(name for name in segment_files(path) if name.endswith(".data"))
    size = os.path.getsize(path / name)
    with open(path / name, "r+b") as file:
        file.seek(4096)
        file.write(bytes(size - 4096))
    for key in KEYS:
        assert check(disk, key) is None
        assert not disk.has(key)
    assert disk.stats()["bad_blocks"] == len(KEYS)
    for each in segment_files(path):
        os.unlink(path / each)
    disk.stored(Made(b"small", 2, 10))
    disk.flush()
    assert check(disk, b"small") in (2, None)
    disk.close()
    disk = opened(path)
    assert check(disk, b"small") == 2  # not in a file that nobody finds any more
    assert all(check(disk, key) is None for key in KEYS if key != b"small")
    disk.close()


def test_a_body_that_goes_bad_behind_its_front_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "cache"
    disk = opened(path)
    disk.stored(Made(b"k", 1, 1_000_000))
    assert disk.flush()
    loaded = disk.load(b"k")
    assert loaded is not None
    assert loaded.stored is not None
    name = next(name for name in segment_files(path) if name.endswith(".data"))
    with open(path / name, "r+b") as file:
        file.seek(4096 + 700_000)
        file.write(b"!")
    assert loaded.stored.read(0, 65_536) == Made(b"k", 1, 1_000_000).read(0, 65_536)
    with pytest.raises(LostError):
        loaded.stored.read(655_360, 65_536)
    assert not disk.has(b"k")
    disk.close()
    assert check(opened(path), b"k") is None


def test_missing_purges_are_known_to_be_missing(tmp_path: Path) -> None:
    path = filled(tmp_path / "cache")
    disk = opened(path)
    assert disk.whole
    assert disk.notes == [b"a purge"]
    disk.close()
    (path / "purges").unlink()
    disk = opened(path)
    assert not disk.whole
    disk.close()
