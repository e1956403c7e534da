"""Several processes over one folder: one index, a segment each, and any of them may be killed at any moment."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from cdn.config.values import DiskConfig
from cdn.store.disk.tier import Disk, open_disk
from tests.store.disk.make import Clock, Made, check, opened

SIZE = 64 << 20
FORK = multiprocessing.get_context("fork")


def child(disk: Disk, line: Connection) -> None:
    """Does what it is told, one thing after the other."""
    disk.start(Clock().times(), 64 << 20, lambda sentence: None, lambda key: key.endswith(b"7"))
    does: dict[str, Callable[..., Any]] = {
        "stored": lambda key, version, length: disk.stored(Made(key, version, length)),
        "gone": disk.gone,
        "check": lambda key: check(disk, key),
        "flush": lambda: disk.flush(30),
        "stats": disk.stats,
        "note": lambda note: disk.note(lambda since: ([note], since + 1)),
    }
    while True:
        what, *arguments = line.recv()
        line.send(does[what](*arguments))


class Child:
    def __init__(self, disk: Disk) -> None:
        self.line, theirs = FORK.Pipe()
        self.process = FORK.Process(target=child, args=(disk, theirs), daemon=True)
        self.process.start()
        theirs.close()

    def ask(self, *what: Any) -> Any:
        self.line.send(what)
        assert self.line.poll(60), what
        return self.line.recv()

    def kill(self) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.join()


def story(path: Path, seed: int, steps: int) -> None:
    rng = random.Random(seed)
    disk = open_disk(DiskConfig(str(path), SIZE, 20), writers=3)
    disk.begin_notes([], 0)
    children = [Child(disk) for _ in range(3)]
    latest: dict[bytes, int] = {}  # what was told last; 0: removed
    by: dict[bytes, int] = {}  # who has it, until it is written
    last: dict[bytes, int] = {}  # the step of the latest event
    safe: dict[bytes, int] = {}  # of the latest that was on disk
    notes = []
    for step in range(1, steps + 1):
        who = rng.randrange(3)
        key = b"key %d" % rng.randrange(150)
        what = rng.random()
        if what < 0.55:
            children[who].ask("stored", key, step, rng.choice([0, 100, 5_000, 100_000, 600_000]))
            latest[key] = last[key] = step
            by[key] = who
        elif what < 0.65:
            children[who].ask("gone", key)
            latest[key], last[key] = 0, step
            by[key] = who
        elif what < 0.95:
            found = children[who].ask("check", key)
            assert found is None or found == latest.get(key), f"step {step}: {key!r} {found}"
        elif what < 0.98:
            assert all(each.ask("flush") for each in children)
            safe, by = dict(last), {}
            notes.append(b"%d" % step)
            children[who].ask("note", notes[-1])
        elif steps - step > 50:
            children[who].kill()
            for key in [key for key, owner in by.items() if owner == who]:
                # it may have been written, or not
                children[(who + 1) % 3].ask("gone", key)
                latest[key], last[key] = 0, step
            by = {key: owner for key, owner in by.items() if owner != who}
            children[who] = Child(disk)
    found = [
        children[rng.randrange(3)].ask("check", key) == version for key, version in latest.items() if version
    ]
    assert sum(found) > len(found) // 2
    disk._table.audit()
    for each in children:
        each.kill()
    disk.close()
    again = opened(path, SIZE)
    assert again.notes == notes
    assert again.whole
    right = 0
    for key, version in latest.items():
        there = check(again, key)
        assert there is None or there >= safe.get(key, 0), f"{key!r}: {there} behind {safe[key]}"
        right += there is not None and there == version
    assert right > len(latest) // 4
    again._table.audit()
    again.close()


def test_several_processes(tmp_path: Path) -> None:
    story(tmp_path / "cache", 1, 1200)


@pytest.mark.full
@pytest.mark.timeout(1200)
def test_several_processes_for_long(tmp_path: Path) -> None:
    for seed in range(2, 12):
        story(tmp_path / f"cache {seed}", seed, 3000)
