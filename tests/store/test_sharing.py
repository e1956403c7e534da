"""One store for several processes: who is attached, and what a worker's death leaves."""

from __future__ import annotations

import dataclasses
import os
import signal

import pytest

from cdn.config.values import StoreConfig
from cdn.store import Memory, open_memory
from tests.store.bodies import FAR, draft

LOCKED = 12  # a step: see `Step` in cdn/store/memory/steps.pyx


def test_attach_and_reap() -> None:
    memory = open_memory(StoreConfig(memory=2 << 20))
    assert memory.worker is None
    assert memory.wake_fileno is None
    pid = os.fork()
    if pid == 0:
        memory.attach(3)
        os._exit(0 if memory.worker == 3 and memory.wake_fileno is not None else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert memory.reap(3)


def test_misuse_is_refused() -> None:
    memory = Memory(1 << 20, bytes(16))
    with pytest.raises(ValueError, match="no slot for worker 0"):
        memory.attach(0)
    memory = Memory(1 << 20, bytes(16), workers=2)
    with pytest.raises(ValueError, match="no slot for worker 2"):
        memory.reap(2)
    memory.attach(1)
    with pytest.raises(ValueError, match="attached already"):
        memory.attach(0)
    with pytest.raises(ValueError, match="at most 64"):
        Memory(1 << 20, bytes(16), workers=65)


def test_what_is_removed_while_the_lock_is_held_is_of_no_use_any_more() -> None:
    """Its times say so. Nothing else of the record changes, which others may be reading."""
    memory = Memory(3 << 20, bytes(16), objects=200, workers=2)
    memory.publish(b"k", draft(b"k", 1), b"x" * 40)
    pid = os.fork()
    if pid == 0:
        memory.attach(0)
        memory.arm(LOCKED, signal.SIGSTOP, 1)
        memory.publish(b"next", draft(b"next", 1), b"")
        os._exit(0)
    assert os.WIFSTOPPED(os.waitpid(pid, os.WUNTRACED)[1])
    memory.attach(1)
    assert memory.remove(b"k")
    entry = memory.lookup(b"k")
    assert entry is not None
    assert max(entry.fresh_until, entry.swr_until, entry.sie_until) < 0
    again = dataclasses.replace(entry.draft(), fresh_until=FAR, swr_until=FAR, sie_until=FAR, stamp=None)
    assert again == draft(b"k", 1)
    assert (entry.key, entry.read()) == (b"k", b"x" * 40)
    entry.release()
    os.kill(pid, signal.SIGCONT)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    memory.audit()
