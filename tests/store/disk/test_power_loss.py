"""Power loss at any instant: whatever of the unsynced writes is there, no answer is wrong and nothing safe is lost."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cdn.store.disk.notes import read_notes
from tests.store.disk.make import Made, Notebook, check, opened
from tests.store.disk.powerloss import Recorder, Replay

SIZE = 32 << 20
KEYS = 60
GONE = -1


@dataclass
class Story:
    """What was done, and after which operation it was safe. A version is the step that made it."""

    ops: list[tuple[object, ...]]
    events: dict[bytes, list[int]]  # of each key: versions, negative for removals, in order of steps
    barriers: list[tuple[int, int, int, int]] = field(
        default_factory=list
    )  # operations, step, notes, evictions
    notes: list[bytes] = field(default_factory=list)


def live(path: Path, seed: int, steps: int, biggest: int) -> Story:
    rng = random.Random(seed)
    path.mkdir(mode=0o700)
    files = Recorder(str(path))
    disk = opened(path, SIZE, files=files, delay=60_000, keep=lambda key: key.endswith(b"7"))
    story = Story(files.ops, {b"key %d" % i: [] for i in range(KEYS)})
    notebook = Notebook(disk, story.notes)
    for step in range(1, steps + 1):
        key = b"key %d" % rng.randrange(KEYS)
        if rng.random() < 0.8:
            disk.stored(Made(key, step, rng.choice([0, 100, 5000, 20_000, biggest])))
            story.events[key].append(step)
        else:
            disk.gone(key)
            story.events[key].append(-step)
        if rng.random() < 0.05:
            notebook.add(b"note %d" % step)
        if rng.random() < 0.15:
            assert disk.flush(30)
            story.barriers.append((len(files.ops), step, len(story.notes), disk.stats()["evictions"]))
    disk.close()
    return story


def judge(story: Story, folder: Path, count: int) -> int:
    """Open what is left; how many keys it has. Fails on a wrong byte, an old version, a lost one."""
    safe, notes, evicted = 0, 0, 0
    for ops, step, noted, evictions in story.barriers:
        if ops <= count:
            safe, notes, evicted = step, noted, evictions
    total = story.barriers[-1][3]
    made = any(name.name == "format" for name in folder.iterdir())
    found_notes, whole = read_notes((folder / "purges").read_bytes()) if made else ([], True)
    if made:
        assert found_notes[:notes] == story.notes[:notes]
        assert whole or len(found_notes) >= notes
    disk = opened(folder, SIZE)
    assert disk.recovered.missing == 0  # nobody has removed anything but the node itself
    found = 0
    for key, events in story.events.items():
        version = check(disk, key)
        before = [event for event in events if abs(event) <= safe]
        last = before[-1] if before else GONE
        if version is None:
            # A miss is never wrong; but what was safe and not touched since is there, unless it was evicted.
            if last > 0 and events[-1] == last and evicted == total == 0:
                raise AssertionError(f"{key!r} version {last} was safe and is lost")
            continue
        found += 1
        assert version in events
        assert version >= abs(last), f"{key!r}: version {version} after {last} was safe"
    disk._table.audit()
    # and it goes on from there
    disk.stored(Made(b"key 0", 10_000_000, 100))
    disk.gone(b"key 1")
    assert disk.flush()
    disk.close()
    disk = opened(folder, SIZE)
    assert check(disk, b"key 0") == 10_000_000
    assert check(disk, b"key 1") is None
    disk.close()
    return found


def rounds(seeds: int, cuts: int) -> Iterator[tuple[int, int]]:
    for seed in range(seeds):
        yield seed, cuts


def run(tmp_path: Path, seeds: int, cuts: int) -> None:
    found = 0
    for seed, count in rounds(seeds, cuts):
        path = tmp_path / f"live {seed}"
        # every second one fills its segments several times over
        story = live(path, seed, 250 if seed % 2 == 0 else 400, 90_000 if seed % 2 == 0 else 400_000)
        shutil.rmtree(path)
        rng = random.Random(1000 + seed)
        for cut in range(count):
            at = rng.randint(0, len(story.ops))
            left = tmp_path / f"left {seed} {cut}"
            Replay(story.ops, at, rng).leave(left)
            try:
                found += judge(story, left, at)
            except AssertionError as fault:
                raise AssertionError(f"seed {seed}, cut {cut} behind operation {at}: {fault}") from fault
            shutil.rmtree(left)
    assert found > seeds * cuts * 5


def test_power_loss(tmp_path: Path) -> None:
    run(tmp_path, seeds=2, cuts=40)


@pytest.mark.full
@pytest.mark.timeout(1800)
def test_power_loss_many_times(tmp_path: Path) -> None:
    """12 stories of up to 400 steps, 160 power losses in each."""
    run(tmp_path, seeds=12, cuts=160)
