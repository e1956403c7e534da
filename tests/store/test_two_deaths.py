"""A worker that died in the middle of a commit, while somebody else needs the lock before its death is known."""

from __future__ import annotations

import os
import signal

import pytest

from cdn.store import Memory
from tests.store.bodies import draft

SLOT_MADE, VOIDED = 4, 26  # steps: see `Step` in cdn/store/memory/steps.pyx


@pytest.mark.parametrize("length", [900, 40_000])
@pytest.mark.parametrize("known", [True, False])
def test_what_it_was_about_to_publish_is_never_taken_for_a_record(length: int, known: bool) -> None:
    """Its fill counts as that of a living one until it is reaped: the run is neither moved nor evicted meanwhile."""
    memory = Memory(1 << 20, bytes(16), objects=200, workers=2)
    pid = os.fork()
    if pid == 0:
        try:
            memory.attach(0)
            memory.arm(SLOT_MADE, signal.SIGKILL, 1)
            fill, _ = memory.begin_fill(b"half")
            assert fill.start(draft(b"half", 1), length if known else None)
            assert fill.write(bytes(length))
            fill.commit()
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    assert memory.audit()["filling_runs"] == 1  # this rebuilds
    assert memory.stats()["rebuilt"] == 1
    for n in range(2000):  # until everything has moved or gone
        memory.now = n * 16
        key = b"%d" % (n * 7919 % 300)
        memory.publish(key, draft(key, n), bytes(500 + n * 613 % 6000))
        if n % 3 == 0:
            memory.remove(b"%d" % (n * 31 % 300))
    memory.audit()
    assert memory.reap(0)
    assert memory.audit()["filling_runs"] == 0
    memory.purge_all()
    assert set(memory.audit().values()) == {0}


def test_nobody_follows_twice_what_its_owner_was_about_to_void() -> None:
    """The owner died when its fill was purged and still to be found under its key. To leave it once was to free it."""
    memory = Memory(1 << 20, bytes(16), objects=200, workers=2)
    ours, theirs = os.pipe()
    go, wait = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            memory.attach(1)
            fill, _ = memory.begin_fill(b"half")
            assert fill.start(draft(b"half", 1), 40_000)
            assert fill.write(bytes(20_000))
            os.write(theirs, b".")
            os.read(go, 1)
            memory.arm(VOIDED, signal.SIGKILL, 1)
            memory.void(b"half")
        finally:
            os._exit(1)
    memory.attach(0)
    os.read(ours, 1)
    first, won = memory.begin_fill(b"half")
    assert first.remote
    assert not won
    os.write(wait, b".")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    assert first.purged
    second, won = memory.begin_fill(b"half")
    assert won
    assert not second.remote
    assert memory.reap(1)
    assert first.read(0, 20_000) == b""  # lost with its owner
    assert memory.audit()["filling_runs"] == 2
    del first
    assert memory.audit()["filling_runs"] == 1
    second.abort("x")
    del second
    assert set(memory.audit().values()) == {0}
    for end in (ours, theirs, go, wait):
        os.close(end)
