"""The whole node killed under write load: what comes back is right, warm, and nothing that was purged."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ..harness import HOST, Closed, Origin, RawClient, Reply, Request, fresh, site
from ..harness.proxy import is_hit
from ..harness.sync import eventually
from .node import Node

DELAY = 0.2  # seconds; the write delay
LATE = 2.0  # and how much longer a machine with other work may take
ALONE = 0.3  # and one without
CLIENTS = 3


@dataclass
class World:
    """What the origin gave and what clients were told; a key's version counts the origin's answers."""

    given: dict[str, int] = field(default_factory=dict)
    told: dict[str, tuple[int, float]] = field(default_factory=dict)  # version and when, latest answer
    purged: dict[str, int] = field(default_factory=dict)  # versions up to this one are not to be served
    faults: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, request: Request) -> Reply:
        with self.lock:
            version = self.given[request.target] = self.given.get(request.target, 0) + 1
        rng = random.Random(f"{request.target} {version}")
        size = rng.choice([300, 3_000, 30_000, 300_000])
        return fresh(3600, text(request.target, version, size), etag=f'"{version}"')


def text(target: str, version: int, size: int) -> bytes:
    unit = b"%s v%d " % (target.encode(), version)
    return (unit * (size // len(unit) + 1))[:size]


def version_of(target: str, body: bytes) -> int:
    """The version of a body, each byte of which is right."""
    version = int(body.split(b" v", 1)[1].split(b" ", 1)[0])
    assert body == text(target, version, len(body))
    return version


def load(node: Node, world: World, stop: threading.Event, seed: int) -> None:
    """Ask for new and known keys until the node is gone."""
    rng = random.Random(seed)
    n = 0
    try:
        with RawClient(node.port) as client:
            while not stop.is_set():
                n += 1
                target = f"/{seed}/{n if rng.random() < 0.6 else rng.randrange(1, n + 1)}"
                floor = world.purged.get(target, 0)
                version = version_of(target, client.get(target).body)
                assert version > floor, f"{target}: version {version} was purged"
                with world.lock:
                    world.told[target] = (version, time.monotonic())
                time.sleep(0.002)
    except (OSError, Closed, AssertionError) as error:
        if not (stop.is_set() and isinstance(error, OSError | Closed)):
            world.faults.append(repr(error))


def purge(node: Node, target: str) -> None:
    body = json.dumps({"urls": [f"http://{HOST}{target}"]}).encode()
    with RawClient(node.admin) as client:
        got = client.ask(
            "POST", "/v1/purge", {"Content-Type": "application/json"}, body, host=f"127.0.0.1:{node.admin}"
        )
    assert got.status == 200, got


def kill_all(node: Node) -> None:
    for pid in (node.pid, *node.others):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    node.wait()


def one_round(origin: Origin, world: World, path: Path, number: int, late: float) -> tuple[int, int, int]:
    """A life under load, its sudden end, and what the next one has: (hits, of how many that were old enough, and
    how many the disk did not keep up with, which the node has said)."""
    disk = {"path": str(path), "size": "1 GiB", "write_delay": f"{int(DELAY * 1000)}ms"}
    tree = site(origin, workers=2, store={"memory": "64 MiB", "disk": disk})
    rng = random.Random(number)
    stop = threading.Event()
    with Node(tree) as node:
        threads = [
            threading.Thread(target=load, args=(node, world, stop, number * 10 + i)) for i in range(CLIENTS)
        ]
        for thread in threads:
            thread.start()
        eventually(lambda: len(world.told) > 100, "some load", 30)
        end = time.monotonic() + 3.0 + rng.random()
        while time.monotonic() < end:
            time.sleep(0.3)
            target = rng.choice(list(world.told))
            with world.lock:
                before = world.given[target]
            purge(node, target)
            with world.lock:  # an answer under way may still have been of before
                world.purged[target] = before
        stop.set()
        figures = node.stats()["disk"]
        said = node.stderr
        kill_all(node)
        killed = time.monotonic()
        for thread in threads:
            thread.join(20)
    assert not world.faults, said
    assert not figures["dropped"] or "the disk does not keep up" in said
    with Node(tree) as node:
        hits = due = 0
        later: dict[str, tuple[int, float]] = {}
        with RawClient(node.port) as client:
            for target, (version, when) in sorted(world.told.items()):
                got = client.get(target)
                served = version_of(target, got.body)
                gone = world.purged.get(target, 0)
                assert served > gone, f"{target}: version {served} was purged"
                if when < killed - DELAY - late and version > gone:
                    due += 1
                    hits += is_hit(got)
                    assert served >= version, f"{target}: version {served} behind {version}"
                later[target] = (served, time.monotonic())
        time.sleep(DELAY + LATE)
    world.told = dict(rng.sample(sorted(later.items()), min(50, len(later))))
    print(number, hits, due, {k: figures[k] for k in ("queue", "dropped", "written", "write_errors")})
    return hits, due, figures["dropped"]


def rounds(path: Path, count: int, late: float) -> tuple[int, int, int]:
    world = World()
    hits = due = dropped = 0
    with Origin(world.answer) as origin:
        for number in range(1, count + 1):
            got = one_round(origin, world, path / "cache", number, late)
            hits, due, dropped = hits + got[0], due + got[1], dropped + min(got[2], got[1])
    print(f"\n{hits} of {due} hits after {count} kills; the disk did not keep up with {dropped}")
    assert due >= 30 * count
    return hits, due, dropped


def test_killed_under_write_load(tmp_path: Path) -> None:
    """What a disk that is busy with other things did not keep up with is no loss: the node has said so."""
    hits, due, dropped = rounds(tmp_path, 2, LATE)
    assert hits >= 0.95 * (due - dropped)


@pytest.mark.full
@pytest.mark.alone
@pytest.mark.timeout(900)
def test_killed_under_write_load_twenty_times(tmp_path: Path) -> None:
    hits, due, _ = rounds(tmp_path, 20, ALONE)
    assert hits >= 0.95 * due
