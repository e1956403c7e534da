"""One store for several processes: who is attached, and what a worker's death leaves."""

from __future__ import annotations

import os

import pytest

from cdn.config.values import StoreConfig
from cdn.store import Memory, open_memory


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
