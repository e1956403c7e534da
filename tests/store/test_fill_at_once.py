"""A small body that is all here is stored in one step, or nothing has happened and the steps are taken."""

from __future__ import annotations

import os
import signal

import pytest

from cdn.store import ABORTED, COMMITTED, WAITING, Fill, Memory
from tests.store.bodies import body, draft

SETTLED, FREED = 16, 17  # steps: see `Step` in cdn/store/memory/steps.pyx
CONTENT = body(b"k", 1, 1000)


@pytest.fixture
def memory() -> Memory:
    return Memory(2 << 20, bytes(16), workers=2)


def new(memory: Memory, key: bytes = b"k") -> Fill:
    fill, won = memory.begin_fill(key)
    assert won
    return fill


@pytest.mark.parametrize("length", [0, 1, 1000, 4096, 12_000])
def test_it_is_what_the_steps_would_have_stored(memory: Memory, length: int) -> None:
    content = body(b"k", 1, length)
    at_once, by_steps = new(memory), new(memory, b"l")
    assert at_once.store_at_once(draft(b"k", 1), content)
    assert by_steps.start(draft(b"k", 1), length)
    assert by_steps.write(content)
    assert by_steps.commit() is not None
    assert at_once.state is by_steps.state is COMMITTED
    assert at_once.ended
    assert not at_once.joinable
    assert at_once.length == at_once.arrived == length
    assert at_once.read(0, length + 1) == content
    found, other = memory.lookup(b"k"), memory.lookup(b"l")
    assert found is not None
    assert other is not None
    assert found.read() == other.read() == content
    assert found.draft() == other.draft()
    assert (found.stamp, found.body_length) == (other.stamp, other.body_length)
    counts = memory.audit()
    assert counts["filling_runs"] == 0
    assert memory.stats()["commits"] == 2
    assert new(memory) is not at_once


def refused(memory: Memory, fill: Fill, content: bytes = CONTENT) -> None:
    before = memory.audit()
    state, why = fill.state, fill.reason
    assert not fill.store_at_once(draft(b"k", 1), content)
    assert memory.lookup(b"k") is None
    assert (fill.state, fill.reason) == (state, why)
    assert memory.audit() == before


def test_not_while_somebody_here_listens(memory: Memory) -> None:
    fill = new(memory)
    heard: list[int] = []
    fill.subscribe(lambda: heard.append(1))
    refused(memory, fill)
    assert fill.start(draft(b"k", 1), len(CONTENT))
    assert heard


def test_not_while_another_worker_follows(memory: Memory) -> None:
    go, told = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            memory.attach(1)
            os.read(go[0], 1)
            fill, won = memory.begin_fill(b"k")
            os.write(told[1], b"n" if won else b"f")
            os.read(go[0], 1)
            os._exit(0 if fill.ended and fill.read(0, 2000) == CONTENT else 2)
        finally:
            os._exit(1)
    memory.attach(0)
    fill = new(memory)
    os.write(go[1], b"x")
    assert os.read(told[0], 1) == b"f"
    refused(memory, fill)
    assert fill.start(draft(b"k", 1), len(CONTENT))
    assert fill.write(CONTENT)
    assert fill.commit() is not None
    os.write(go[1], b"x")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    for fd in (*go, *told):
        os.close(fd)
    assert memory.reap(1)


@pytest.mark.parametrize("how", ["key", "all", "era"])
def test_not_once_purged(memory: Memory, how: str) -> None:
    fill = new(memory)
    if how == "key":
        memory.invalidate(b"k")
    elif how == "all":
        memory.purge_all()
    else:
        memory.void(b"k")
    assert fill.purged
    refused(memory, fill)
    assert fill.start(draft(b"k", 1), len(CONTENT))
    assert fill.write(CONTENT)
    assert fill.commit() is None
    assert memory.lookup(b"k") is None


def test_not_when_it_was_started_given_up_or_detached(memory: Memory) -> None:
    started, given_up, detached = new(memory), new(memory, b"a"), new(memory, b"d")
    assert started.start(draft(b"k", 1), len(CONTENT))
    given_up.abort("left")
    detached.detach()
    for fill in (started, given_up, detached):
        refused(memory, fill)
    assert given_up.state is ABORTED


def test_not_what_needs_blocks(memory: Memory) -> None:
    fill = new(memory)
    content = body(b"k", 1, 300_000)
    refused(memory, fill, content)
    assert fill.start(draft(b"k", 1), len(content))
    assert fill.write(content)
    entry = fill.commit()
    assert entry is not None
    assert entry.read() == content


def test_not_without_room(memory: Memory) -> None:
    pinned = []
    for n in range(10_000):
        entry = memory.publish(b"%d" % n, draft(b"k", 1), bytes(1000))
        if entry is None:
            break
        pinned.append(entry)
    else:
        pytest.fail("the store never was full")
    fill, _ = memory.begin_fill(b"k")
    refused(memory, fill)
    assert fill.state is WAITING


@pytest.mark.parametrize(("step", "stored"), [(SETTLED, False), (FREED, True)])
def test_a_worker_that_dies_in_between(memory: Memory, step: int, stored: bool) -> None:
    """Before the record is revealed it never existed; after that it is stored, and its place in the table is free."""
    pid = os.fork()
    if pid == 0:
        try:
            memory.attach(0)
            fill = new(memory)
            memory.arm(step, signal.SIGKILL)
            fill.store_at_once(draft(b"k", 1), CONTENT)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    assert memory.reap(0)
    counts = memory.audit()
    assert counts["filling_runs"] == counts["filling_blocks"] == 0
    found = memory.lookup(b"k")
    assert (found is not None) is stored
    if found is not None:
        assert found.read() == CONTENT
        found.release()
    assert memory.stats()["rebuilt"] == 1
    again, won = memory.begin_fill(b"k")
    assert won
    assert again.store_at_once(draft(b"k", 2), CONTENT)
    memory.purge_all()
