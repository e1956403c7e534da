"""Many nodes: what is purged on one is purged on all, whoever was away meanwhile, over a real broker."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ..harness import Origin, RawClient, Reply, Request, reply, site
from ..harness.sync import eventually
from ..harness.tls import TLS_NAME, certificate
from .broker import Broker
from .node import Node
from .wire import Wire

SECRET = "a secret of more than 16 characters"
VISIBLE = 0.150  # seconds: the goal, at the 99th percentile, on a machine that is not busy


class Versions:
    """An origin whose every answer is a newer one; all can be purged by URL, tag and prefix."""

    def __init__(self) -> None:
        self.number = 0

    def __call__(self, request: Request) -> Reply:
        self.number += 1
        return reply(
            200,
            [
                ("Cache-Control", "max-age=600"),
                ("ETag", f'"{self.number}"'),
                ("Cache-Tag", f"all,t{request.target[1:]}"),
            ],
            b"%d" % self.number,
        )


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDN_TEST_SHIELD", SECRET)


@pytest.fixture
def origin() -> Iterator[Origin]:
    with Origin(Versions(), patience=20) as made:
        yield made


@pytest.fixture
def broker() -> Iterator[Broker]:
    with Broker() as made:
        yield made


def tree(origin: Origin, broker: Broker, name: str, **top: Any) -> dict[str, Any]:
    made = site(
        origin,
        bus=broker.section(**{"wait": "10s", **top.pop("bus", {})}),
        **{"store": {"memory": "32 MiB"}, **top},
    )
    made["node"] = {"name": name, **top.get("node", {})}
    return made


@contextmanager
def several(origin: Origin, broker: Broker, count: int = 3, **top: Any) -> Iterator[list[Node]]:
    with ExitStack() as stack:
        yield [
            stack.enter_context(Node(tree(origin, broker, f"edge-{n}", **top))) for n in range(1, count + 1)
        ]


def purge(node: Node, status: int = 200, **wanted: Any) -> dict[str, Any]:
    """The answer of this status; a node that is just connecting says 503, and is asked again as it says."""
    end = time.monotonic() + 20
    while True:
        got, body = _purge(node, wanted)
        if got != 503 or status == 503 or time.monotonic() > end:
            break
        time.sleep(0.05)
    assert got == status, body
    found: dict[str, Any] = json.loads(body)
    return found


def _purge(node: Node, wanted: dict[str, Any]) -> tuple[int, bytes]:
    with RawClient(node.admin, timeout=20) as client:
        response = client.ask(
            "POST",
            "/v1/purge",
            {"Content-Type": "application/json"},
            json.dumps(wanted).encode(),
            host=f"127.0.0.1:{node.admin}",
        )
    return response.status, response.body


def bus(node: Node) -> dict[str, Any]:
    found: dict[str, Any] = node.stats()["bus"]
    return found


def version(node: Node, target: str) -> int:
    response = node.get(target)
    assert response.status == 200
    return int(response.body)


def is_hit(node: Node, target: str) -> bool:
    return "; hit" in (node.get(target)["cache-status"] or "")


def warm(nodes: list[Node], *targets: str) -> None:
    for node in nodes:
        for target in targets:
            eventually(partial(is_hit, node, target), f"a hit for {target}", 30, 0.01)


def processes(node: Node, number: signal.Signals) -> None:
    for pid in (node.pid, *node.others):
        os.kill(pid, number)


def control(node: Node) -> int:
    known = {worker["pid"] for worker in node.stats()["workers"]}
    (pid,) = [pid for pid in node.others if pid not in known]
    return pid


def connected(node: Node, patience: float = 30.0) -> None:
    eventually(lambda: bool(bus(node)["connected"]), "the bus", patience, 0.02)


def says(node: Node, text: str) -> None:
    eventually(lambda: text in node.stderr, f"the line {text!r}", 30, 0.02)


def reached(node: Node, sequence: int, patience: float = 30.0) -> None:
    eventually(lambda: bus(node)["sequence"] >= sequence, f"purge {sequence}", patience, 0.005)


def test_a_purge_on_one_node_is_one_on_all(origin: Origin, broker: Broker) -> None:
    with several(origin, broker, workers=2) as nodes:
        ways: list[dict[str, Any]] = [
            {"tags": ["tb"]},
            {"urls": ["http://site.test/b"]},
            {"prefixes": ["http://site.test/b"]},
            {"hosts": ["site.test"]},
            {"all": True},
            {"tags": ["all"], "soft": True},
        ]
        sequence = 0
        for number, wanted in enumerate(ways, 1):
            warm(nodes, "/b", "/other")
            others = "/other" if number <= 3 else None
            before, sequence = sequence, purge(nodes[number % 3], **wanted)["sequence"]
            assert sequence > before
            for node in nodes:
                reached(node, sequence)
                if others is not None:
                    assert is_hit(node, others), wanted
                assert not is_hit(node, "/b"), wanted
        purge(nodes[0], status=400, urls=["ftp://nothing/"])
        assert [bus(node)["sequence"] for node in nodes] == [sequence] * 3


@pytest.mark.parametrize(
    ("turns", "goal"),
    [(10, 20.0), pytest.param(100, VISIBLE, marks=[pytest.mark.full, pytest.mark.alone], id="measured")],
)
def test_how_soon_a_purge_is_seen_everywhere(origin: Origin, broker: Broker, turns: int, goal: float) -> None:
    times = []
    with several(origin, broker) as nodes, ExitStack() as stack:
        clients = [stack.enter_context(RawClient(node.port, timeout=20)) for node in nodes]
        for client in clients:
            client.get("/x")
        for turn in range(turns):
            before = max(int(client.get("/x").body) for client in clients)
            begun = time.monotonic()
            purge(nodes[turn % 3], tags=["tx"])
            for client in clients:
                while int(client.get("/x").body) <= before:
                    assert time.monotonic() - begun < 20
                    time.sleep(0.001)
            times.append(time.monotonic() - begun)
    times.sort()
    p99 = times[int(len(times) * 0.99)]
    print(
        f"\npurge to visible on 3 nodes: median {times[len(times) // 2] * 1000:.1f} ms, p99 {p99 * 1000:.1f} ms"
    )
    assert p99 < goal


def test_a_node_that_was_stopped_catches_up(origin: Origin, broker: Broker) -> None:
    with several(origin, broker, 2) as (one, two):
        warm([one, two], "/x", "/y")
        old = {target: version(two, target) for target in ("/x", "/y")}
        processes(two, signal.SIGSTOP)
        try:
            purge(one, tags=["tx"])
            sequence = purge(one, urls=["http://site.test/y"])["sequence"]
            time.sleep(2)
        finally:
            processes(two, signal.SIGCONT)
        eventually(lambda: bus(two)["sequence"] >= sequence, "the purges", 30, 0.005)
        assert all(version(two, target) > old[target] for target in old)


@pytest.mark.parametrize("seconds", [5, pytest.param(30, marks=pytest.mark.full)])
def test_a_node_that_was_cut_off_serves_nothing_purged_once_it_is_back(
    origin: Origin, broker: Broker, seconds: int
) -> None:
    far = tree(origin, broker, "edge-2")
    with Wire(broker.port) as wire, several(origin, broker, 1) as (one,):
        far["bus"]["servers"] = [f"nats://127.0.0.1:{wire.port}"]
        with Node(far) as two:
            connected(two)
            targets = [f"/{number}" for number in range(20)]
            warm([one, two], *targets)
            old = {target: version(two, target) for target in targets}
            wire.cut()
            begun = time.monotonic()
            for target in targets[:10]:
                purge(one, tags=[f"t{target[1:]}"])
            sequence = purge(one, urls=[f"http://site.test{target}" for target in targets[10:]])["sequence"]
            assert is_hit(two, targets[0])  # it cannot know, and goes on
            eventually(lambda: not bus(two)["connected"], "the loss to be noticed", 30, 0.02)
            noticed = time.monotonic() - begun
            time.sleep(max(0.0, seconds - noticed))
            wire.mend()
            begun = time.monotonic()
            connected(two)
            print(
                f"\ncut off for {seconds} s: noticed in {noticed:.1f} s, back in {time.monotonic() - begun:.2f} s"
            )
            assert bus(two)["sequence"] >= sequence
            assert all(version(two, target) > old[target] for target in targets)
            assert bus(two)["gaps"] == 0


def test_a_broker_that_goes_and_comes_back(origin: Origin, broker: Broker) -> None:
    with several(origin, broker, 2) as (one, two):
        warm([one, two], "/x", "/y")
        purge(one, tags=["ty"])
        warm([one, two], "/y")
        old = version(two, "/x")
        broker.stop()
        eventually(lambda: not bus(one)["connected"] and not bus(two)["connected"], "the loss", 30)
        assert is_hit(two, "/x")  # serving goes on
        says(two, "bus: cut off")
        answer = purge(one, status=503, tags=["tx"])
        assert "on this node alone" in answer["error"]
        assert not is_hit(one, "/x")
        assert is_hit(two, "/x")
        broker.start()
        connected(one)
        connected(two)
        says(two, "connected again")
        purge(one, tags=["tx"])
        eventually(lambda: version(two, "/x") > old, "the purge", 30)
        assert is_hit(two, "/y")
        assert [bus(node)["gaps"] for node in (one, two)] == [0, 0]


def test_a_broker_that_stops_answering_is_left(origin: Origin, broker: Broker) -> None:
    with several(origin, broker, 1) as (node,):
        warm([node], "/x")
        broker.tell(signal.SIGSTOP)
        try:
            eventually(lambda: not bus(node)["connected"], "the loss to be noticed", 30)
            assert is_hit(node, "/x")
        finally:
            broker.tell(signal.SIGCONT)
        connected(node)


def test_a_stream_that_lost_purges_makes_everything_stored_validated(origin: Origin, broker: Broker) -> None:
    with several(origin, broker, 2) as (one, two):
        purge(one, tags=["before"])
        warm([one, two], "/x")
        broker.stop(signal.SIGKILL)
        broker.forget()
        broker.start()
        connected(one)
        connected(two)
        for node in (one, two):
            assert not is_hit(node, "/x")
            says(node, "the stream is another one than before")
            assert bus(node)["gaps"] == 1
        assert origin.requests[-1]["if-none-match"] is not None


def test_a_node_with_a_disk_applies_what_it_missed_before_it_serves(
    origin: Origin, broker: Broker, tmp_path: Path
) -> None:
    disk = {
        "memory": "32 MiB",
        "disk": {"path": str(tmp_path / "disk"), "size": "64 MiB", "write_delay": "10ms"},
    }
    alone = tree(origin, broker, "edge-2", store=disk)
    with several(origin, broker, 1) as (one,):
        with Node(alone) as two:
            purge(one, tags=["before"])
            eventually(lambda: bus(two)["sequence"] == 1, "the purge", 30)
            warm([two], "/x", "/y")
            old = {target: version(two, target) for target in ("/x", "/y")}
            eventually(lambda: two.stats()["disk"]["objects"] >= 2, "the disk", 30)
        purge(one, tags=["tx"])
        with Node(alone) as two:
            assert version(two, "/x") > old["/x"]
            assert version(two, "/y") == old["/y"]
            assert bus(two)["gaps"] == 0
            assert bus(two)["sequence"] == 2
        broker.stop()
        alone["bus"]["wait"] = "300ms"
        with Node(alone) as two:
            before = origin.count()
            assert not is_hit(two, "/y")  # validated: nobody knows
            assert origin.count() == before + 1
            says(two, "purges may be missing here")
        broker.start()


def test_a_node_starts_without_the_broker_and_joins_later(origin: Origin, broker: Broker) -> None:
    broker.stop()
    with several(origin, broker, 1, bus={"wait": "200ms"}) as (node,):
        says(node, "bus: cut off")
        warm([node], "/x")
        broker.start()
        connected(node)
        assert not is_hit(node, "/x")  # it may have been purged before
        warm([node], "/x")


def test_no_edge_refills_from_a_shield_that_is_behind(origin: Origin, broker: Broker) -> None:
    with ExitStack() as stack:
        shield_tree = tree(origin, broker, "shield-1", edges={"secret_env": "CDN_TEST_SHIELD"})
        shield_tree["node"]["tier"] = "shield"
        shield = stack.enter_context(Node(shield_tree))
        pool = {"servers": [f"http://127.0.0.1:{shield.port}"], "secret_env": "CDN_TEST_SHIELD"}
        edges = [
            stack.enter_context(Node(tree(origin, broker, f"edge-{n}", shields=pool, workers=1)))
            for n in (1, 2)
        ]
        warm(edges, "/x", "/y")
        old = version(edges[0], "/x")
        assert origin.count() == 2
        behind = control(shield)
        os.kill(behind, signal.SIGSTOP)
        try:
            sequence = purge(edges[0], tags=["tx"])["sequence"]
            eventually(lambda: bus(edges[1])["sequence"] >= sequence, "the purge", 30, 0.005)
            for edge in edges:
                assert version(edge, "/x") > old
                assert is_hit(edge, "/x")
        finally:
            os.kill(behind, signal.SIGCONT)
        eventually(lambda: bus(shield)["sequence"] >= sequence, "the shield", 30)
        assert shield.stats()["no_store"]["behind"] >= 2
        # and once it has caught up it is asked, and answers, as ever
        sequence = purge(edges[0], tags=["ty"])["sequence"]
        for node in (*edges, shield):
            reached(node, sequence)
        assert version(edges[0], "/y") == version(edges[1], "/y")


def test_a_control_process_that_dies_is_replaced_and_reads_on(origin: Origin, broker: Broker) -> None:
    with several(origin, broker, 2) as (one, two):
        warm([one, two], "/x", "/y")
        old = version(two, "/x")
        dying = control(two)
        os.kill(dying, signal.SIGSTOP)  # so that the purge comes before its end
        purge(one, tags=["tx"])
        os.kill(dying, signal.SIGKILL)
        eventually(lambda: version(two, "/x") > old, "the purge", 30, 0.02)
        connected(two)
        assert bus(two)["gaps"] == 0
        assert is_hit(two, "/y")


def test_a_worker_that_hangs_holds_up_no_purge(origin: Origin, broker: Broker) -> None:
    with several(origin, broker, 2, workers=2) as (one, two):
        warm([one, two], "/x")
        stopped = two.stats()["workers"][0]["pid"]
        os.kill(stopped, signal.SIGSTOP)
        try:
            begun = time.monotonic()
            for _ in range(30):
                sequence = purge(one, urls=["http://site.test/x"])["sequence"]
            reached(two, sequence)
            assert time.monotonic() - begun < 25  # and not a second for each
        finally:
            os.kill(stopped, signal.SIGCONT)


def test_a_broker_behind_tls_and_a_token(origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDN_TEST_BUS", "the token")
    chain, key = certificate(TLS_NAME)
    with Broker("--auth", "the token", "--tls", "--tlscert", str(chain), "--tlskey", str(key)) as broker:
        section = {
            "servers": [f"tls://127.0.0.1:{broker.port}"],
            "token_env": "CDN_TEST_BUS",
            "tls": {"ca": str(chain), "name": TLS_NAME},
            "wait": "3s",
        }
        with several(origin, broker, 1, bus=section) as (node,):
            warm([node], "/x")
            assert purge(node, tags=["tx"])["sequence"] >= 1
            assert not is_hit(node, "/x")
        monkeypatch.setenv("CDN_TEST_BUS", "another")
        with several(origin, broker, 1, bus={**section, "wait": "500ms"}) as (node,):
            says(node, "Authorization")
            assert "another" not in node.stderr
        monkeypatch.setenv("CDN_TEST_BUS", "the token")
        section["tls"] = {"name": TLS_NAME}
        with several(origin, broker, 1, bus={**section, "wait": "500ms"}) as (node,):
            says(node, "bus: cut off")
            says(node, "certificate")


def test_nodes_see_each_other_and_who_runs_something_else(origin: Origin, broker: Broker) -> None:
    with several(origin, broker, 2) as (one, two):
        other = tree(origin, broker, "edge-3", cache={"ttl": "7m"})
        other["routes"][0]["cache"] = {"ttl": "7m"}
        with Node(other) as three:
            eventually(lambda: len(bus(one)["nodes"]) == 2, "the others", 30, 0.1)
            found = {node["node"]: node for node in bus(one)["nodes"]}
            assert found["edge-2"]["configuration"] == bus(one)["configuration"] == bus(two)["configuration"]
            assert (
                found["edge-3"]["configuration"] == bus(three)["configuration"] != bus(one)["configuration"]
            )
            eventually(lambda: "edge-3 runs other routes or origins" in one.stderr, "the line", 30)
            assert bus(one)["differing"] == 1


def test_what_cannot_be_read_makes_everything_validated(origin: Origin, broker: Broker) -> None:
    import asyncio

    import nats

    async def write(*messages: bytes) -> None:
        client = await nats.connect(f"nats://127.0.0.1:{broker.port}")
        for message in messages:
            await client.jetstream().publish("cdn.purge", message)
        await client.close()

    with several(origin, broker, 1) as (node,):
        for message in (b"\xff{", b"[" * 9000, b'{"v": 2}', b'{"v": 1, "purge": {"tags": [","]}}'):
            warm([node], "/x")
            gaps = bus(node)["gaps"]
            asyncio.run(write(message))
            eventually(lambda gaps=gaps: bus(node)["gaps"] == gaps + 1, "the message", 30)
            assert not is_hit(node, "/x")
        purge(node, tags=["tx"])
