"""After a worker died while it held the lock, the order in which records go is what it was, for every policy."""

from __future__ import annotations

import os
import random
import signal

import pytest

from cdn.store import POLICIES, Memory
from tests.store.bodies import FAR
from tests.store.test_policies import draft

EVICTING, POINTED = 6, 5  # steps: see `Step` in cdn/store/memory/steps.pyx


def fill(memory: Memory, rng: random.Random, first: int, n: int) -> None:
    for k in range(first, first + n):
        memory.now = k * 16
        assert memory.publish(b"%d" % k, draft(k * 16, FAR), bytes(1000 + rng.randrange(3000))) is not None
        entry = memory.lookup(b"%d" % rng.randrange(max(0, k - 200), k + 1))
        if entry is not None:
            entry.touch(memory.now)
            entry.release()


def die(memory: Memory, step: int) -> None:
    """A worker that dies at that step of its next eviction or publication."""
    pid = os.fork()
    if pid == 0:
        try:
            memory.attach(0)
            memory.arm(step, signal.SIGKILL, 3)
            fill(memory, random.Random(1), 10_000, 400)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    assert memory.reap(0)


@pytest.mark.parametrize("step", [POINTED, EVICTING])
@pytest.mark.parametrize("name", POLICIES)
def test_queues_are_made_again(name: str, step: int) -> None:
    """Everything is in one queue, at one place; what was stored is there still, but for what the dead had evicted."""
    rng = random.Random(7)
    memory = Memory(2 << 20, bytes(16), workers=2, policy=name)
    fill(memory, rng, 0, 1500)
    before = set(memory.keys())
    assert memory.stats()["evictions"] > 300
    die(memory, step)
    memory.audit()
    assert memory.stats()["rebuilt"] == 1
    after = set(memory.keys())
    assert len(before & after) > 0.9 * len(before)
    fill(memory, rng, 20_000, 1500)
    memory.audit()
    memory.purge_all()
    assert set(memory.audit().values()) == {0}


@pytest.mark.parametrize("name", ["sieve", "s3fifo", "s3fifo-size"])
def test_who_came_first_still_goes_first(name: str) -> None:
    """Of what nobody asked for, the older half goes before the younger one, as if nobody had died."""
    memory = Memory(2 << 20, bytes(16), workers=2, policy=name)
    k = 0
    while memory.stats()["evictions"] == 0:
        memory.now = k * 16
        assert memory.publish(b"%d" % k, draft(k * 16, FAR), bytes(2000)) is not None
        k += 1
    die(memory, POINTED)
    memory.audit()
    kept = sorted(int(key) for key in list(memory.keys()) if int(key) < 10_000)
    for n in range(len(kept) // 4):
        assert memory.publish(b"after%d" % n, draft(k * 16, FAR), bytes(2000)) is not None
    left = {int(key) for key in list(memory.keys()) if key.isdigit()}
    half = len(kept) // 2
    assert sum(key not in left for key in kept[:half]) > len(kept) // 5
    assert left >= set(kept[half:])
