"""Pins that name what is gone: a worker that was overtaken between finding a record and entering it in its table."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from cdn.store import Memory
from tests.store.bodies import draft

LOCKED = 12  # a step: see `Step` in cdn/store/memory/steps.pyx
SIZE = 1 << 20
PINS, FILL_TAGS = 56, 64  # in Super: the offset of the pin tables, and of what is behind them


class PinTables:
    """Those of all workers, in the one mapping of this size that a store has."""

    def __init__(self) -> None:
        for line in Path("/proc/self/maps").read_text().splitlines():
            first, last = (int(end, 16) for end in line.split()[0].split("-"))
            if "cdn-store" in line and last - first == SIZE:
                break
        else:
            raise AssertionError("the mapping is not to be seen")
        start, end = (int.from_bytes(ctypes.string_at(first + at, 8), "little") for at in (PINS, FILL_TAGS))
        self.words = (ctypes.c_uint64 * ((end - start) // 8)).from_address(first + start)

    def only(self) -> int:
        """Where the only pin is."""
        (at,) = (n for n, word in enumerate(self.words) if word)
        return at


class Reader:
    """Worker 1, which takes its life step by step: `life` is called in it with what ends a step."""

    def __init__(self, memory: Memory, life: Callable[[Memory, Callable[[], None]], None]) -> None:
        theirs, self._go = os.pipe()
        self._said, ours = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._go)
            try:
                memory.attach(1)

                def step() -> None:
                    os.write(ours, b".")
                    if not os.read(theirs, 1):
                        os._exit(0)

                life(memory, step)
                os._exit(0)
            finally:
                os._exit(1)
        os.close(ours)
        os.close(theirs)
        assert os.read(self._said, 1)

    def step(self) -> None:
        os.write(self._go, b".")
        assert os.read(self._said, 1)

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *failed: object) -> None:
        if failed[0] is not None:
            os.kill(self._pid, signal.SIGKILL)
        os.close(self._go)
        os.close(self._said)
        os.waitpid(self._pid, 0)


def die_with_the_lock(memory: Memory) -> None:
    """Worker 0 does, and what it left is put in order."""
    pid = os.fork()
    if pid == 0:
        try:
            memory.attach(0)
            memory.arm(LOCKED, signal.SIGKILL, 1)
            memory.publish(b"next", draft(b"next", 1), b"")
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    assert memory.reap(0)
    assert memory.stats()["rebuilt"] == 1


@pytest.mark.parametrize("length", [900, 40_000])
def test_what_is_gone_is_not_made_a_record_again(length: int) -> None:
    """Its bytes still look like one. Made one again it would be listed, and the list could grow over its neighbours."""

    def life(memory: Memory, step: Callable[[], None]) -> None:
        entry = memory.lookup(b"gone")
        step()
        assert entry is not None
        entry.release()
        assert memory.remove(b"gone")
        step()

    memory = Memory(SIZE, bytes(16), objects=200, workers=2)
    memory.publish(b"gone", draft(b"gone", 1), bytes(length))
    memory.publish(b"stays", draft(b"stays", 1), bytes(100))  # is listed behind it
    before = memory.audit()
    with Reader(memory, life) as reader:
        pins = PinTables()
        at = pins.only()
        granule = pins.words[at]
        reader.step()
        assert pins.words[at] == 0
        pins.words[at] = granule
        die_with_the_lock(memory)
        pins.words[at] = 0
        assert memory.audit() == {**before, "published": 1}
        assert memory.lookup(b"stays") is not None


@pytest.mark.parametrize("length", [900, 40_000])
def test_what_is_held_still_stays(length: int) -> None:
    def life(memory: Memory, step: Callable[[], None]) -> None:
        entry = memory.lookup(b"held")
        assert entry is not None
        assert memory.remove(b"held")
        step()
        assert entry.read() == b"x" * length
        entry.release()
        step()

    memory = Memory(SIZE, bytes(16), objects=200, workers=2)
    memory.publish(b"held", draft(b"held", 1), b"x" * length)
    with Reader(memory, life) as reader:
        die_with_the_lock(memory)
        assert memory.audit()["retired"] == 1
        reader.step()
        assert memory.audit()["retired"] == 0
