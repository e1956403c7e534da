"""Clients of two workers waiting for one cold key: one request for the node, whoever dies, and no mixed bytes."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.harness import Origin, Reply, Request, Signal, fresh, reply, site
from tests.harness.client import RawClient
from tests.harness.siblings import Siblings
from tests.harness.sync import eventually
from tests.harness.wire import WireError

LIMITS = {"connections_per_address": 20_000}
COUNTS = [60, pytest.param(1000, marks=pytest.mark.full)]
BODY = b"first half, " * 4000 + b"second half " * 4000
HALF = len(BODY) // 2


def gather(nodes: Siblings, number: int, count: int) -> list[RawClient]:
    clients = [nodes.client(number, timeout=20) for _ in range(count)]
    for client in clients:
        client.request("GET", "/c")
    nodes.waiting(number, count)
    return clients


def answer_in_halves(
    request: Request, gate: Signal, half: Signal, etag: str = '"1"', body: bytes = BODY
) -> None:
    fields = {"Cache-Control": "max-age=600", "ETag": etag, "Content-Length": str(len(body))}
    request.conn.hold(gate)
    request.conn.head(200, fields)
    request.conn.send(body[:HALF])
    request.conn.hold(half)
    request.conn.send(body[HALF:])


@pytest.mark.parametrize("count", COUNTS)
def test_one_request_for_the_node(count: int) -> None:
    gate, half = Signal("all wait"), Signal("all have the first half")
    with (
        Origin(lambda request: answer_in_halves(request, gate, half), patience=30) as origin,
        Siblings(site(origin, limits=LIMITS)) as nodes,
    ):
        clients = [*gather(nodes, 0, count // 2), *gather(nodes, 1, count // 2)]
        gate.set()
        bodies = [client.read_head()[1] for client in clients]
        assert all(body.exactly(HALF) == BODY[:HALF] for body in bodies)
        half.set()
        assert all(body.rest() == BODY[HALF:] for body in bodies)
        assert origin.count() == 1
        for number in (0, 1):
            assert nodes.client(number).get("/c").body == BODY
        assert origin.count() == 1
        assert nodes.memory.audit()["filling_runs"] == 0


@pytest.mark.parametrize("count", COUNTS)
def test_the_filler_dies_before_the_head(count: int) -> None:
    gate, half = Signal("the first filler is dead"), Signal("at once")
    half.set()
    with (
        Origin(lambda request: answer_in_halves(request, gate, half), patience=30) as origin,
        Siblings(site(origin, limits=LIMITS)) as nodes,
    ):
        gather(nodes, 0, count // 2)
        others = gather(nodes, 1, count // 2)
        eventually(lambda: origin.count() == 1, "the one request at the origin")
        nodes.kill(0)
        nodes.waiting(1, count // 2)
        gate.set()
        assert all(client.read_response().body == BODY for client in others)
        assert origin.count() == 2


# Entity-tag and body of the second answer, where that of the first has `"1"` (or this one, if it is weak) and BODY.
SECOND = {
    "same": ('"1"', BODY),
    "other": ('"2"', BODY.upper()),
    "longer": ('"1"', BODY + b" and more"),
    "weak": ('W/"1"', BODY),
}


@pytest.mark.parametrize(
    ("count", "second"),
    [(60, second) for second in SECOND]
    + [pytest.param(1000, second, marks=pytest.mark.full) for second in SECOND],
)
def test_the_filler_dies_in_the_middle(count: int, second: str) -> None:
    """Who is in mid-body goes on under the same strong validator and length, and is cut otherwise; who has received
    nothing gets all of the second answer."""
    gate, half = Signal("all wait"), Signal("the first filler is dead")
    etag, whole = SECOND[second]

    def rule(request: Request) -> None:
        if origin.count() == 1:
            answer_in_halves(request, gate, half, etag if second == "weak" else '"1"')
        else:
            answer_in_halves(request, gate, half, etag, whole)

    with Origin(rule, patience=30) as origin, Siblings(site(origin, limits=LIMITS)) as nodes:
        gather(nodes, 0, count // 2)
        others = gather(nodes, 1, count // 2)
        gate.set()
        bodies = [client.read_head()[1] for client in others]
        assert all(body.exactly(HALF) == BODY[:HALF] for body in bodies)
        nodes.kill(0)
        late = [nodes.client(1, timeout=20) for _ in range(count // 10)]
        for client in late:
            client.request("GET", "/c")
        half.set()
        for body in bodies:
            if second == "same":
                assert body.rest() == BODY[HALF:]
            else:
                with pytest.raises(WireError):
                    body.exactly(HALF)
        assert all(client.read_response().body == whole for client in late)
        assert origin.count() == 2


def test_uncacheable_frees_the_waiters_of_all_and_is_remembered() -> None:
    gate = Signal("all wait")

    def rule(request: Request) -> Reply:
        if origin.count() == 1:
            gate.wait(20)
        return reply(200, {"Cache-Control": "private"}, b"mine")

    with Origin(rule, patience=30) as origin, Siblings(site(origin, limits=LIMITS)) as nodes:
        clients = [*gather(nodes, 0, 20), *gather(nodes, 1, 20)]
        eventually(lambda: origin.count() == 1, "the one request at the origin")
        gate.set()
        assert all(client.read_response().body == b"mine" for client in clients)
        assert origin.count() == 40
        second = Signal("the next two are both there")

        def held(request: Request) -> Reply:
            if origin.count() < 42:
                second.wait(20)
            else:
                second.set()
            return reply(200, {"Cache-Control": "private"}, b"mine")

        origin.rule = held
        pair = [nodes.client(number, timeout=20) for number in (0, 1)]
        for client in pair:
            client.request("GET", "/c")
        assert all(client.read_response().body == b"mine" for client in pair), "nobody waited for the other"


def test_variants_go_to_whom_they_match() -> None:
    gate = Signal("all wait")

    def rule(request: Request) -> Reply:
        if origin.count() == 1:
            gate.wait(20)
        text = dict(request.fields)["X-Kind"].encode()
        return reply(200, {"Cache-Control": "max-age=600", "Vary": "X-Kind"}, text)

    with Origin(rule, patience=30) as origin, Siblings(site(origin, limits=LIMITS)) as nodes:
        kinds = ["a", "b", "a", "b"]
        clients = []
        for number, kind in enumerate(kinds):
            client = nodes.client(number // 2, timeout=20)
            client.request("GET", "/c", {"X-Kind": kind})
            clients.append(client)
            nodes.waiting(number // 2, number % 2 + 1)
        assert origin.count() == 1
        gate.set()
        assert [client.read_response().body.decode() for client in clients] == kinds
        assert origin.count() == 2


def test_a_purge_reaches_a_fill_of_another_worker() -> None:
    gate, half = Signal("it was asked for"), Signal("it was purged")
    gate.set()

    def rule(request: Request) -> Reply | None:
        if origin.count() > 1:
            return fresh(600, b"new")
        answer_in_halves(request, gate, half)
        return None

    with Origin(rule, patience=30) as origin, Siblings(site(origin, limits=LIMITS)) as nodes:
        (client,) = gather(nodes, 0, 1)
        _, body = client.read_head()
        assert body.exactly(HALF) == BODY[:HALF]
        nodes.memory.purge_all()
        assert nodes.client(1, timeout=20).get("/c").body == b"new"
        half.set()
        assert body.rest() == BODY[HALF:]
        for number in (0, 1):
            assert nodes.client(number).get("/c").body == b"new"


@pytest.mark.parametrize("seconds", [2, pytest.param(10, marks=[pytest.mark.full, pytest.mark.alone])])
def test_an_idle_worker_does_not_wake_up(seconds: int) -> None:
    with Origin(fresh(600, b"x")) as origin:
        tree = site(origin, origin_timeouts={"idle": "100ms"})  # that is over before anything is counted
        with Siblings(tree) as nodes:
            for number in (0, 1):
                nodes.client(number).get("/c")
            for client in nodes._clients:
                client.close()
            time.sleep(2)

            def switches() -> list[str]:
                return [
                    line
                    for worker in nodes.workers
                    for line in Path(f"/proc/{worker.pid}/status").read_text().splitlines()
                    if line.startswith("voluntary")
                ]

            before = switches()
            time.sleep(seconds)
            assert switches() == before
