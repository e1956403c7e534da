"""Records that are being moved while somebody finds them."""

from __future__ import annotations

import os
import random
import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdn.store import Memory
from tests.store.bodies import draft
from tests.store.hammer import PIECES, check, key_of, made

COPIED, BOUNCED = 1, 27  # steps: see `Step` in cdn/store/memory/steps.pyx
KEYS = 600


def store_until_stopped_once(memory: Memory) -> None:
    """Stops in the middle of a move, and ends when it has gone on and the move is done."""
    signal.signal(signal.SIGCONT, lambda _signal, _frame: os._exit(0))
    rng = random.Random(5)
    for version in range(20_000):
        key = key_of(rng.randrange(KEYS))
        memory.now = version
        memory.publish(key, draft(key, version), made(key, version, rng.choice(PIECES)))
    os._exit(1)


@pytest.mark.parametrize("step", [COPIED, BOUNCED])
def test_what_is_being_moved_is_not_held(step: int) -> None:
    """Who moves it has made sure that nobody holds it: its memory is used again as soon as the copy is published."""
    memory = Memory(3 << 20, bytes(16), objects=2000, workers=2)
    pid = os.fork()
    if pid == 0:
        memory.attach(0)
        memory.arm(step, signal.SIGSTOP, 1)
        store_until_stopped_once(memory)
    assert os.WIFSTOPPED(os.waitpid(pid, os.WUNTRACED)[1])
    memory.attach(1)
    held = {number for number in range(KEYS) if memory.lookup(key_of(number)) is not None}
    os.kill(pid, signal.SIGCONT)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    moved = {}
    newest = 0
    for number in range(KEYS):
        entry = memory.lookup(key_of(number))
        if entry is not None:
            assert entry.etag is not None
            version = int(entry.etag.strip(b'"'))
            check(key_of(number), version, entry.read())
            newest = max(newest, version)
            if number not in held:
                moved[number] = version
    assert len(held) > 20
    assert any(version < newest for version in moved.values())  # the newest is what was being stored


@given(st.data())
def test_the_least_is_moved(data: st.DataObject) -> None:
    """Against all windows of neighbours there are."""
    pieces = data.draw(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 9)), min_size=1, max_size=12))
    floor, want, most = (data.draw(st.integers(0, n)) for n in (4, 20, 60))
    at = floor + data.draw(st.integers(0, 5))
    gaps = [at - floor]
    spans = []
    for gap, length in pieces:
        spans.append((at, length))
        at += length + gap
        gaps.append(gap)
    spans.reverse()
    gaps.reverse()
    windows = {}
    for first in range(len(spans) + 1):
        for behind in range(first, len(spans) + 1):
            if sum(gaps[first : behind + 1]) >= want:
                windows[first, behind] = sum(length for _, length in spans[first:behind])
    found = Memory.least_to_move(spans, at, floor, want, most)
    least = min(windows.values(), default=most + 1)
    if least > most:
        assert found is None
    else:
        assert found is not None
        assert found[0] == least == windows[found[1], found[2]]
