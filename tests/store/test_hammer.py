"""Four processes hammer one small store: no wrong byte, no deadlock, no leak, and the counters add up at the end.

Workers are killed and stopped at random instants, and at every marked step of the critical sections.
"""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

from cdn.store import POLICIES, Memory
from tests.store.hammer import Hammer

SIZE = 3 << 20
WORKERS = 4
STEPS = [*range(1, 19), 22, 26, 27]  # those of what grows are in test_growth.py
WITHOUT_LOCK = (18, 26)
MOVES = (1, 2, 3, 27)  # of records
OFTEN = (2, 5, 9, 14, 16)
EVERY = [step if step in OFTEN else pytest.param(step, marks=pytest.mark.full) for step in STEPS]


def open_store(policy: str = "s3fifo") -> Memory:
    return Memory(SIZE, b"0123456789abcdef", objects=2000, first=40, workers=WORKERS, policy=policy)


def hammered(folder: Path, seconds: float, every: float, policy: str = "s3fifo") -> Hammer:
    memory = open_store(policy)
    hammer = Hammer(memory, folder)
    rng = random.Random(seconds)
    end = time.monotonic() + seconds
    for worker in range(WORKERS):
        hammer.start(worker, seconds)
    while (left := end - time.monotonic()) > every:
        time.sleep(every * (0.5 + rng.random()))
        victim = rng.randrange(WORKERS)
        if rng.random() < 0.25:  # a while without it; then it goes on, or dies where it stands
            hammer.pause(victim, 0.3 * rng.random())
            if rng.random() < 0.5:
                hammer.go_on(victim)
                continue
        hammer.kill(victim)
        hammer.wait(victim)
        hammer.start(victim, max(0.2, left - every))
    for worker in range(WORKERS):
        hammer.wait(worker, seconds + 30)
    hammer.settle()
    s = hammer.memory.stats()
    print(
        f"{policy}: {hammer.deaths} killed, {hammer.stops} stopped; {s['rebuilt']} times rebuilt, "
        f"{s['lock_failures']} times without the lock, {s['commits']} commits, {s['evictions']} evictions"
    )
    return hammer


def test_four_processes_and_random_deaths(tmp_path: Path) -> None:
    hammer = hammered(tmp_path, 4.0, 0.15)
    assert hammer.deaths > 0
    assert len(hammer.finished) >= WORKERS


@pytest.mark.full
@pytest.mark.alone
@pytest.mark.timeout(300)
@pytest.mark.parametrize("policy", POLICIES)
def test_four_processes_for_long(tmp_path: Path, policy: str) -> None:
    hammer = hammered(tmp_path, 75.0, 0.1, policy)
    assert hammer.deaths > 100
    assert hammer.stops > 25


def test_without_deaths_nothing_is_rebuilt(tmp_path: Path) -> None:
    hammer = hammered(tmp_path, 1.5, 10.0)
    assert hammer.deaths == 0
    stats = hammer.memory.stats()
    assert stats["rebuilt"] == 0
    assert stats["commits"] > 100
    assert stats["evictions"] > 10


@pytest.mark.parametrize("step", EVERY)
def test_killed_at_every_step(tmp_path: Path, step: int) -> None:
    """One is killed there, at different times; the others go on, and it is replaced."""
    hammer = Hammer(open_store(), tmp_path, pieces=step in MOVES)
    for worker in (1, 2):
        hammer.start(worker, 1.2)
    reached = 0
    for after in (1, 2, 7, 40):
        hammer.start(0, 0.5, arm=(step, signal.SIGKILL, after))
        reached += hammer.wait(0) == -1
    for worker in (1, 2):
        hammer.wait(worker)
    assert reached, "the step was never reached"
    hammer.settle()


@pytest.mark.parametrize("step", EVERY)
def test_stopped_at_every_step(tmp_path: Path, step: int) -> None:
    """One is stopped there: the others' hits go on, their misses pass, nobody hangs; then it goes on, or is killed."""
    hammer = Hammer(open_store(), tmp_path, pieces=step in MOVES)
    memory = hammer.memory
    hammer.start(1, 0.4)
    hammer.wait(1)
    stopped = hammer.start(0, 1.0, arm=(step, signal.SIGSTOP, 5))
    end = time.monotonic() + 20
    while True:
        pid, status = os.waitpid(stopped.pid, os.WUNTRACED | os.WNOHANG)
        if pid:
            break
        assert time.monotonic() < end
        time.sleep(0.002)
    assert os.WIFSTOPPED(status), stopped.report.read_text()
    before = memory.stats()["lock_failures"]
    other = hammer.start(2, 0.4)
    while os.waitpid(other.pid, os.WNOHANG)[0] == 0:
        assert time.monotonic() < end, "a worker hangs behind one that is stopped"
        time.sleep(0.005)
    text = other.report.read_text()
    assert text.startswith("ok"), text
    assert "'hits': 0" not in text, "no hit while another worker was stopped"
    if memory.stats()["lock_failures"] == before:
        assert step in WITHOUT_LOCK, "it was stopped without the lock"
    if step % 2:
        os.kill(stopped.pid, signal.SIGCONT)
    else:
        hammer.kill(0)
    hammer.wait(0)
    del hammer.children[2]
    assert memory.reap(2)
    hammer.settle()
