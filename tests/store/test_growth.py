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

SEGMENT_TAKEN, SPLIT, EXTENDED = 19, 20, 21  # steps: see `Step` in cdn/store/memory/sync.pyx


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


@pytest.mark.parametrize("after", [1, 3])
@pytest.mark.parametrize("step", [SEGMENT_TAKEN, SPLIT, EXTENDED])
@pytest.mark.parametrize("name", ["lru", "s3fifo", "s3fifo-size"])
def test_a_death_while_it_grows(name: str, step: int, after: int) -> None:
    memory = Memory(8 << 20, bytes(16), objects=60_000, first=5, workers=2, policy=name)
    put(memory, 0, 900)
    pid = os.fork()
    if pid == 0:
        try:
            memory.attach(0)
            memory.arm(step, signal.SIGKILL, after)
            put(memory, 1000, 28_000)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    assert memory.reap(0)
    memory.audit()
    assert memory.stats()["rebuilt"] == 1
    check(memory, [b"%d" % k for k in range(900)])
    there = list(memory.keys())
    check(memory, there)
    put(memory, 50_000, 2000)
    memory.audit()
    check(memory, there)
    memory.purge_all()
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
