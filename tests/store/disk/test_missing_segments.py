"""Segments that somebody has removed, with log and all: at rest and under a running node. A miss, and said once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cdn.store.disk import format as fmt
from cdn.store.disk.roster import Roster, read_roster
from cdn.store.disk.tier import Disk
from tests.harness.sync import eventually
from tests.store.disk.make import Made, Notebook, check, opened

MIB = 1 << 20


def segments(path: Path) -> list[str]:
    """Their numbers, the oldest first."""
    return sorted({name.partition(".")[0] for name in os.listdir(path) if name[0] == "0"})


def remove(path: Path, number: str, kinds: tuple[str, ...] = ("log", "data")) -> None:
    for kind in kinds:
        os.unlink(path / f"{number}.{kind}")


def lives(path: Path, *versions: int) -> None:
    """In each life one version of a key is stored and, but in the first, another key is removed."""
    for version in versions:
        disk = opened(path)
        Notebook(disk)
        disk.stored(Made(b"old", version, 50))
        if version == 1:
            disk.stored(Made(b"removed", 1, 50))
        else:
            disk.gone(b"removed")
        assert disk.flush()
        disk.close()


def test_one_that_is_missing_altogether_is_missed_at_the_start(tmp_path: Path) -> None:
    """What it had replaced and removed came back as if it were current."""
    path = tmp_path / "cache"
    lives(path, 1, 2)
    remove(path, segments(path)[-1])
    for _ in range(2):  # a start that got no further changes nothing
        disk = opened(path)
        assert disk.recovered.missing == 1
        assert not disk.whole
        disk.close()
    disk = opened(path)
    Notebook(disk)  # now it is noted that what is there has to be validated
    disk.close()
    disk = opened(path)
    assert disk.whole
    disk.close()


def test_the_number_of_one_that_is_missing_is_not_given_again(tmp_path: Path) -> None:
    path = tmp_path / "cache"
    lives(path, 1, 2)
    missing = segments(path)[-1]
    remove(path, missing)
    disk = opened(path)
    disk.stored(Made(b"new", 1, 50))
    assert disk.flush()
    disk.close()
    assert missing not in segments(path)
    assert int(missing, 16) < int(segments(path)[-1], 16)


def test_a_log_whose_data_is_missing_speaks_at_every_start(tmp_path: Path) -> None:
    """It was removed at the first one: what it had replaced came back with the second."""
    path = tmp_path / "cache"
    lives(path, 1, 2)
    remove(path, segments(path)[-1], ("data",))
    for _ in range(3):
        disk = opened(path)
        Notebook(disk)
        assert disk.whole
        assert check(disk, b"old") is None
        assert check(disk, b"removed") is None
        disk.close()


def test_a_log_without_data_goes_when_nothing_older_is_there(tmp_path: Path) -> None:
    path = tmp_path / "cache"
    lives(path, 1)
    remove(path, segments(path)[-1], ("data",))
    disk = opened(path)
    Notebook(disk)
    assert segments(path) == []
    disk.close()
    assert opened(path).whole


@pytest.mark.parametrize("damage", ["deleted", "cut", "flipped"])
def test_a_roster_that_is_not_whole(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "cache"
    lives(path, 1, 2)
    roster = path / "segments"
    data = bytearray(roster.read_bytes())
    if damage == "deleted":
        roster.unlink()
    elif damage == "cut":
        roster.write_bytes(data[:-1])
    else:
        data[20] ^= 1
        roster.write_bytes(data)
    disk = opened(path)
    assert not disk.whole
    Notebook(disk)
    disk.close()
    assert opened(path).whole


def filled(path: Path, said: list[str]) -> Disk:
    """A disk of several segments."""
    disk = opened(path, 64 * MIB, said=said)
    Notebook(disk)
    for number in range(24):
        disk.stored(Made(b"key %d" % number, 1, MIB))
        assert disk.flush()
    assert len(segments(path)) > 4
    return disk


def test_one_that_is_removed_while_it_is_open(tmp_path: Path) -> None:
    """Its room counts as free, none of it is called damaged, and nothing else has gone."""
    path, said = tmp_path / "cache", list[str]()
    disk = filled(path, said)
    before = disk.shared_stats()
    remove(path, segments(path)[1])
    found = [key for key in range(24) if check(disk, b"key %d" % key) == 1]
    assert 24 - 8 <= len(found) < 24
    eventually(lambda: disk.stats()["lost_segments"] == 1, "the writer to look")
    after = disk.shared_stats()
    assert after["segments"] == before["segments"] - 1
    assert after["objects"] == len(found)
    assert after["bytes"] < before["bytes"]
    disk._table.audit()
    eventually(lambda: len(said) == 1, "a line")
    assert "removed by others" in said[0]
    assert disk.stats()["bad_blocks"] == disk.stats()["read_errors"] == 0
    for number in range(24, 30):
        disk.stored(Made(b"key %d" % number, 1, MIB))
    assert disk.flush()
    assert all(check(disk, b"key %d" % number) == 1 for number in [*found, *range(24, 30)])
    assert len(said) == 1
    disk.close()
    again = opened(path, 64 * MIB)
    assert not again.whole
    assert all(check(again, b"key %d" % number) == 1 for number in found)
    again._table.audit()


@pytest.mark.parametrize("kinds", [("log", "data"), ("data",), ("log",)])
def test_the_one_that_is_being_written(tmp_path: Path, kinds: tuple[str, ...]) -> None:
    """What was written to a removed file was gone with the next start, however long the segment took."""
    path, said = tmp_path / "cache", list[str]()
    disk = filled(path, said)
    remove(path, segments(path)[-1], kinds)
    disk.stored(Made(b"new", 1, 1000))
    assert disk.flush()
    assert check(disk, b"new") == 1
    assert disk.stats()["lost_segments"] == 1
    disk._table.audit()
    disk.close()
    again = opened(path, 64 * MIB)
    assert check(again, b"new") == 1
    assert again.whole == (kinds == ("data",))


def test_all_of_them(tmp_path: Path) -> None:
    """rm in the folder of a running node: it begins anew."""
    path, said = tmp_path / "cache", list[str]()
    disk = filled(path, said)
    for number in segments(path):
        remove(path, number)
    assert [check(disk, b"key %d" % number) for number in range(24)].count(
        1
    ) <= 24  # what is open may still be read
    for number in range(24):
        disk.stored(Made(b"key %d" % number, 2, MIB))
    assert disk.flush()
    assert all(check(disk, b"key %d" % number) == 2 for number in range(24))
    eventually(lambda: disk.shared_stats()["objects"] == 24, "what is gone to be forgotten")
    assert len(said) <= 2
    disk._table.audit()
    disk.close()


def test_one_that_a_dead_process_had_not_begun_was_not_removed_by_others(tmp_path: Path) -> None:
    """It is cleared all the same, and nobody is told to look for whoever removed it."""
    path, said = tmp_path / "cache", list[str]()
    disk = filled(path, said)
    pid = os.fork()
    if pid == 0:
        disk._table.open_segment()
        os._exit(0)
    os.waitpid(pid, 0)
    before = disk.shared_stats()["segments"]
    assert before == len(segments(path)) + 1
    disk._reader.missed()
    eventually(lambda: disk.shared_stats()["segments"] == before - 1, "the writer to look")
    assert disk.flush()
    assert disk.stats()["lost_segments"] == 0
    assert said == []
    assert all(check(disk, b"key %d" % number) == 1 for number in range(24))
    disk.close()
    assert opened(path, 64 * MIB).whole


def test_one_that_was_begun_and_ended_during_the_look_is_not_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list of files was older than the list of segments: a whole segment of another process was forgotten."""
    path, said = tmp_path / "cache", list[str]()
    disk = filled(path, said)
    late = segments(path)[1]
    names = disk._files.names
    stale = [name for name in names() if not name.startswith(late)]
    looks = [stale]
    monkeypatch.setattr(disk._files, "names", lambda: looks.pop() if looks else names())
    disk._reader.missed()
    eventually(lambda: not looks, "the writer to look")
    disk.stored(Made(b"key 24", 1, 10))
    assert disk.flush()
    assert disk.stats()["lost_segments"] == 0
    assert all(check(disk, b"key %d" % number) == 1 for number in range(25))
    disk._table.audit()
    disk.close()


def test_a_death_between_evicting_and_logging_that_brings_nothing_back(tmp_path: Path) -> None:
    """Whoever cleared the segment after the dead process found nothing left to evict, and logged nothing."""
    path = tmp_path / "cache"
    lives(path, 1, 2, 3)  # segments with versions 1, 2, 3 of "old"
    disk = opened(path)
    Notebook(disk)
    disk.stored(Made(b"other", 1, 50))
    assert disk.flush()
    number = int(segments(path)[2], 16)
    pid = os.fork()
    if pid == 0:
        place = next(place for place, n, _ in disk._table.segments() if n == number)
        disk._table.leave_at(place, number)
        log = fmt.log_records((path / f"{number:016x}.log").read_bytes()[fmt.RECORD :], number)
        assert disk._segments is not None
        disk._segments.clearing.evict(place, log)
        os._exit(0)
    os.waitpid(pid, 0)
    assert check(disk, b"old") is None
    assert disk._segments is not None
    leave = disk._table.leave_at
    place = next(place for place, n, _ in disk._table.segments() if n == number)
    assert leave(place, number)
    log = fmt.log_records((path / f"{number:016x}.log").read_bytes()[fmt.RECORD :], number)
    again = disk._segments.clearing.evict(place, log)
    assert disk._table.hash(b"old") in {gone.hash for gone in again}
    disk._table.seal(place)
    disk.close()


def test_the_roster_says_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "cache"
    disk = opened(path, 24 * MIB)
    for number in range(60):
        disk.stored(Made(b"key %d" % number, 1, MIB))
        assert disk.flush()
    assert disk.stats()["cleared"] > 3
    found = read_roster(disk._files)
    assert found == {int(number, 16) for number in segments(path)}
    disk.close()


def test_what_could_not_be_struck_out_is_with_the_next_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = opened(tmp_path / "cache")
    roster = Roster(disk._files)
    roster.write([1, 2, 3])
    with monkeypatch.context() as patched:
        patched.setattr(Roster, "_write", lambda *_: (_ for _ in ()).throw(OSError))
        roster.strike(2)
    assert read_roster(disk._files) == {1, 2, 3}
    roster.enter(4, [])
    assert read_roster(disk._files) == {1, 3, 4}
    disk.close()
