"""A purge by tag is seen on every node of two tiers as soon with a million objects stored in each as with none."""

from __future__ import annotations

import itertools
import json
import random
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from ..harness import HOST, Origin, RawClient, Reply, Request, reply
from ..harness.sync import eventually
from .broker import Broker
from .cluster import SECRET
from .node import Node
from .stuffed import copy_of
from .test_bus import VISIBLE, connected, is_hit, purge, tree

PURGES = 60
COUNT = 1_000_000
EACH = 1_250  # bytes of room for an object: index and rings are laid out for objects of 1 KiB
LOOKED_AT = 20  # copies of what was purged, and of what was not, on each node


class Stuffed(Node):
    def _command(self) -> list[str]:
        return [sys.executable, "-m", "tests.real.stuffed", str(self.config)]

    def stuff(self, seeds: list[str], count: int) -> None:
        """Tell it to store so many copies of these paths, which it has."""
        said = self.home / "said"
        said.write_text(json.dumps({"host": HOST, "seeds": seeds, "count": count}))
        said.rename(self.home / "stuff")

    def copies(self) -> int:
        done = self.home / "stuffed"
        return int(done.read_text()) if done.exists() else 0


@dataclass
class Four:
    """Two edges and two shields before one origin, on one bus."""

    edges: list[Stuffed]
    shields: list[Stuffed]

    @property
    def nodes(self) -> list[Stuffed]:
        return [*self.edges, *self.shields]


def start(stack: ExitStack, origin: Origin, broker: Broker, count: int) -> Four:
    top: dict[str, Any] = {"workers": 1, "store": {"memory": f"{64 + count * EACH // 2**20} MiB"}}

    def node(name: str, **more: Any) -> Stuffed:
        return stack.enter_context(Stuffed(tree(origin, broker, name, **top, **more)))

    shields = [node(f"shield-{n}", node={"tier": "shield"}, edges={"secret_env": SECRET}) for n in (1, 2)]
    pool = {"servers": [f"http://127.0.0.1:{shield.port}" for shield in shields], "secret_env": SECRET}
    edges = [node(f"edge-{n}", shields=pool) for n in (1, 2)]
    for one in (*shields, *edges):
        connected(one)
    return Four(edges, shields)


def seen(four: Four, targets: list[str]) -> list[float]:
    """Each target is a hit on every node and has a tag of its own, which is purged at one of them: seconds until every
    node answers with what is newer, in order of length.
    """
    times = []
    with ExitStack() as stack:
        clients = [stack.enter_context(RawClient(node.port, timeout=20)) for node in four.nodes]
        for turn, target in enumerate(targets):
            before = []
            for client in clients:
                found = client.get(target)
                assert "; hit" in (found.all("cache-status")[-1]), found.all("cache-status")
                before.append(int(found.body))
            begun = time.monotonic()
            purge(four.nodes[turn % 4], tags=[f"t{target.split('/')[1]}"])
            for client, old in zip(clients, before, strict=True):
                while int(client.get(target).body) <= old:
                    assert time.monotonic() - begun < 20
                    time.sleep(0.001)
            times.append(time.monotonic() - begun)
    return sorted(times)


def say(what: str, times: list[float]) -> None:
    print(
        f"\ntag purge to visible on 2 edges and 2 shields, {what}: "
        f"p50 {times[len(times) // 2] * 1000:.1f} ms, p99 {p99(times) * 1000:.1f} ms, "
        f"most {times[-1] * 1000:.1f} ms of {len(times)}"
    )


def p99(times: list[float]) -> float:
    return times[int(len(times) * 0.99)]


class Tagged:
    """An origin whose every answer is a newer one, with three tags: of all, of the path's first part, of the whole."""

    def __init__(self) -> None:
        self._number = itertools.count(1)

    def __call__(self, request: Request) -> Reply:
        first, whole = request.target.split("/")[1], request.target[1:].replace("/", ".")
        fields = {"Cache-Control": "max-age=3600", "Cache-Tag": f"all,t{first},u{whole}"}
        return reply(200, fields, b"%d" % next(self._number))


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("count", "purges"), [(20_000, 8), pytest.param(COUNT, PURGES, marks=pytest.mark.full, id="million")]
)
def test_a_tag_purge_with_so_many_objects_stored_in_each_node(
    count: int, purges: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SECRET, "a secret of more than 16 characters")
    with Origin(Tagged(), patience=60) as origin, Broker() as broker, ExitStack() as stack:
        four = start(stack, origin, broker, count)
        few = [f"/few{number}" for number in range(purges)]
        seeds = [f"/seed{number}" for number in range(purges + 1)]  # the last one's copies stay
        for node in four.nodes:
            for target in (*few, *seeds):
                eventually(partial(is_hit, node, target), f"a hit for {target}", 30, 0.01)
        empty = seen(four, few)

        begun = time.monotonic()
        for node in four.nodes:
            node.stuff(seeds, count)
        for node in four.nodes:
            assert eventually(node.copies, "the copies", 60 + count / 5_000, 0.1) == count
            assert node.stats()["store"]["objects"] >= count
        print(f"\n{count:,} copies stored in each of four nodes within {time.monotonic() - begun:.0f} s")

        each = count // len(seeds)
        chance = random.Random(1)
        some = [chance.randrange(each) for _ in range(LOOKED_AT)]
        full = seen(four, [copy_of(seed, chance.randrange(each)) for seed in seeds[:-1]])
        for node in four.nodes:
            for number in some:
                assert is_hit(node, copy_of(seeds[-1], number))
                old = int(node.get(copy_of(seeds[0], number)).body)
                assert old > len(few) + len(seeds), "a copy of what was purged was served"
        say("nothing else stored", empty)
        say(f"{count:,} objects in each", full)
        if count == COUNT:
            assert p99(full) <= VISIBLE
