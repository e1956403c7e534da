"""The index grows with what is stored: nothing gets lost, and a death in the midst of it is mended."""

from __future__ import annotations

import os
import random
import signal
import time

import pytest

from cdn.store import POLICIES, Memory
from tests.store.bodies import FAR
from tests.store.test_policies import draft

SEGMENT_TAKEN, SPLIT, EXTENDED, TABLE_TAKEN, RING_TURNED, GHOSTS_SPLIT = (
    19,
    20,
    21,
    23,
    24,
    25,
)  # `Step` in memory/steps.pyx


def put(memory: Memory, first: int, n: int, length: int = 40) -> None:
    for k in range(first, first + n):
        memory.now = k * 16
        assert memory.publish(b"%d" % k, draft(k * 16, FAR), b"%d" % k + bytes(length)) is not None


def check(memory: Memory, keys: list[bytes]) -> None:
    for key in keys:
        entry = memory.lookup(key)
        assert entry is not None, key
        assert entry.read(0, len(key)) == key
        entry.release()


@pytest.mark.parametrize("name", POLICIES)
def test_all_is_found_as_the_index_doubles_again_and_again(name: str) -> None:
    memory = Memory(8 << 20, bytes(16), objects=60_000, first=5, policy=name)
    assert memory.stats()["slots"] == 5
    for n in range(8):
        put(memory, n * 2500, 2500)
        memory.audit()
        assert memory.stats()["evictions"] == 0
        assert memory.stats()["index_load"] > 0.7
        check(memory, [b"%d" % k for k in range((n + 1) * 2500)])
    slots = memory.stats()["slots"]
    assert slots > 20_000
    memory.purge_all()
    assert set(memory.audit().values()) == {0}
    assert memory.stats()["slots"] == slots
    assert memory.stats()["used"] == memory.stats()["fixed"]


def test_a_full_store_gives_pages_to_its_index() -> None:
    """Large objects fill it; then small ones come, many more than the index had room for."""
    memory = Memory(8 << 20, bytes(16), objects=60_000, first=100, policy="lru")
    put(memory, 0, 2000, 20_000)
    assert memory.stats()["evictions"] > 1000
    before = memory.stats()["slots"]
    put(memory, 10_000, 30_000, 400)
    memory.audit()
    s = memory.stats()
    assert s["slots"] > 4 * before
    assert s["objects"] > 7000
    assert s["index_load"] < 0.95
    check(memory, list(memory.keys()))


def test_it_grows_no_further_than_it_may() -> None:
    memory = Memory(2 << 20, bytes(16), objects=300, first=10)
    put(memory, 0, 3000)
    assert memory.stats()["slots"] == 300
    assert memory.stats()["objects"] > 250
    memory.audit()


def grow_and_die(memory: Memory, records: int, step: int, after: int) -> None:
    """A worker stores so many and is killed at that step; what it left is in order again."""
    pid = os.fork()
    if pid == 0:
        try:
            memory.attach(0)
            memory.arm(step, signal.SIGKILL, after)
            put(memory, 1000, records)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    assert memory.reap(0)
    memory.audit()
    assert memory.stats()["rebuilt"] == 1


@pytest.mark.parametrize("after", [1, 3])
@pytest.mark.parametrize("step", [SEGMENT_TAKEN, SPLIT, EXTENDED])
@pytest.mark.parametrize("name", ["lru", "s3fifo", "s3fifo-size"])
def test_a_death_while_it_grows(name: str, step: int, after: int) -> None:
    memory = Memory(8 << 20, bytes(16), objects=60_000, first=5, workers=2, policy=name)
    put(memory, 0, 900)
    grow_and_die(memory, 28_000, step, after)
    check(memory, [b"%d" % k for k in range(900)])
    there = list(memory.keys())
    check(memory, there)
    put(memory, 50_000, 2000)
    memory.audit()
    check(memory, there)
    memory.purge_all()
    assert set(memory.audit().values()) == {0}


@pytest.mark.parametrize("after", [1, 4])
@pytest.mark.parametrize(
    ("name", "step"),
    [
        *(("sieve", step) for step in (TABLE_TAKEN, RING_TURNED)),
        *(("s3fifo", step) for step in (TABLE_TAKEN, RING_TURNED, GHOSTS_SPLIT)),
        *(("s3fifo-size", step) for step in (TABLE_TAKEN, RING_TURNED, GHOSTS_SPLIT)),
    ],
)
def test_a_death_while_rings_and_ghosts_grow(name: str, step: int, after: int) -> None:
    memory = Memory(24 << 20, bytes(16), objects=300_000, first=5, workers=2, policy=name)
    put(memory, 0, 900)
    grow_and_die(memory, 90_000, step, after)
    there = list(memory.keys())
    assert len(there) > 800
    check(memory, there)
    put(memory, 200_000, 30_000)
    memory.audit()
    check(memory, [b"%d" % k for k in range(229_000, 230_000)])
    memory.purge_all()
    assert set(memory.audit().values()) == {0}


@pytest.mark.parametrize("name", ["sieve", "s3fifo", "s3fifo-size"])
def test_a_ring_grows_in_the_middle_of_its_round(name: str) -> None:
    """Large objects have gone round it for a while when small ones come: more than it had room for, in their order."""
    memory = Memory(24 << 20, bytes(16), objects=300_000, first=5, policy=name)
    put(memory, 0, 6000, 2000)
    put(memory, 10_000, 14_000, 2000)
    assert memory.stats()["evictions"] > 5000
    memory.audit()
    for n in range(6):
        put(memory, 100_000 + n * 10_000, 10_000, 30)
        memory.audit()
        s = memory.stats()
    assert s["objects"] > 50_000
    check(memory, [b"%d" % k for k in range(159_000, 160_000)])
    memory.purge_all()
    assert set(memory.audit().values()) == {0}


@pytest.mark.parametrize("length", [1960, 1984, 2000, 2016])
def test_a_page_takes_more_runs_than_its_list_has_room_for(length: int) -> None:
    """Where the lowest run lies right behind it. All pages of large ones were of no use to small ones."""
    memory = Memory(8 << 20, bytes(16), objects=100_000, policy="s3fifo")
    put(memory, 0, 5000, length)
    assert memory.stats()["evictions"] > 1000
    put(memory, 10_000, 30_000, 30)
    assert memory.stats()["used"] > 0.98 * memory.size
    memory.audit()


def test_there_are_as_many_fills_as_are_wanted() -> None:
    """More than the table of fills begins with; those that have ended make room for others."""
    memory = Memory(64 << 20, bytes(16), workers=2)
    memory.attach(0)
    before = memory.stats()["fixed"]
    for _ in range(3):
        fills = []
        for n in range(400):
            fill, won = memory.begin_fill(b"%d" % n)
            assert won
            assert fill.start(draft(0, FAR), 10)
            fills.append(fill)
        assert memory.stats()["fills"] == 400
        memory.audit()
        for n in range(400):
            fill = fills.pop()
            assert fill.write(b"%010d" % n)
            if n % 7:
                assert fill.commit() is not None
            else:
                fill.abort("x")
        assert memory.stats()["fills"] == 0
        memory.purge_all()
    assert 4 * 16384 <= memory.stats()["fixed"] - before <= 5 * 16384
    del fill
    assert set(memory.audit().values()) == {0}


def test_a_death_while_the_table_of_fills_grows() -> None:
    memory = Memory(64 << 20, bytes(16), workers=2)
    pid = os.fork()
    if pid == 0:
        try:
            memory.attach(1)
            kept = [memory.begin_fill(b"%d" % n)[0] for n in range(100)]
            memory.arm(TABLE_TAKEN, signal.SIGKILL)
            kept += [memory.begin_fill(b"%d" % n)[0] for n in range(100, 400)]
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    assert memory.reap(1)
    assert set(memory.audit().values()) == {0}
    memory.attach(0)
    fills = [memory.begin_fill(b"%d" % n)[0] for n in range(300)]
    assert memory.stats()["fills"] == 300
    memory.audit()
    del fills
    assert set(memory.audit().values()) == {0}


def test_a_reader_without_the_lock_misses_nothing_meanwhile() -> None:
    """One process stores, another one looks up what was stored before, again and again, while the index doubles."""
    memory = Memory(16 << 20, bytes(16), objects=100_000, first=5, workers=2)
    keys = [b"%d" % k for k in range(300)]
    put(memory, 0, 300)
    pid = os.fork()
    if pid == 0:
        try:
            memory.attach(1)
            put(memory, 1000, 20_000)
            os._exit(0)
        finally:
            os._exit(1)
    memory.attach(0)
    end = time.monotonic() + 60
    rng = random.Random(5)
    done = 0
    looked = 0
    while done == 0 and time.monotonic() < end:
        check(memory, rng.sample(keys, 100))
        looked += 100
        done, status = os.waitpid(pid, os.WNOHANG)
    assert done == pid
    assert os.waitstatus_to_exitcode(status) == 0
    assert looked
    assert memory.stats()["slots"] > 20_000
    check(memory, keys)
    memory.audit()
