"""Records that are being moved while somebody finds them."""

from __future__ import annotations

import os
import random
import signal

from cdn.store import Memory
from tests.store.bodies import draft
from tests.store.hammer import PIECES, check, key_of, made

COPIED = 1  # a step: see `Step` in cdn/store/memory/sync.pyx
KEYS = 600


def store_until_one_has_moved(memory: Memory) -> None:
    rng = random.Random(5)
    for version in range(20_000):
        key = key_of(rng.randrange(KEYS))
        memory.now = version
        memory.publish(key, draft(key, version), made(key, version, rng.choice(PIECES)))
        if memory.stats()["moved"]:
            os._exit(0)
    os._exit(1)


def test_what_is_being_moved_is_not_held() -> None:
    """Who moves it has made sure that nobody holds it: its memory is used again as soon as the copy is published."""
    memory = Memory(3 << 20, bytes(16), objects=2000, workers=2)
    pid = os.fork()
    if pid == 0:
        memory.attach(0)
        memory.arm(COPIED, signal.SIGSTOP, 1)
        store_until_one_has_moved(memory)
    assert os.WIFSTOPPED(os.waitpid(pid, os.WUNTRACED)[1])
    memory.attach(1)
    held = {number for number in range(KEYS) if memory.lookup(key_of(number)) is not None}
    os.kill(pid, signal.SIGCONT)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    moved = set()
    for number in range(KEYS):
        entry = memory.lookup(key_of(number))
        if entry is not None:
            assert entry.etag is not None
            check(key_of(number), int(entry.etag.strip(b'"')), entry.read())
            if number not in held:
                moved.add(number)
    assert len(held) > 20
    assert len(moved) > 1  # one is what was being stored
