"""Records that are being moved while somebody finds them."""

from __future__ import annotations

import os
import random
import signal

import pytest

from cdn.store import Memory
from tests.store.bodies import draft
from tests.store.hammer import PIECES, check, key_of, made

COPIED, BOUNCED = 1, 27  # steps: see `Step` in cdn/store/memory/sync.pyx
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
