"""Clients of two workers that want one slice: one request for the node, whoever dies, and no mixed bytes."""

from __future__ import annotations

import pytest

from tests.harness import Origin, Request, Signal, eventually, site
from tests.harness.client import RawClient
from tests.harness.siblings import Siblings
from tests.harness.vast import GIB, KIB, Vast, content
from tests.harness.wire import WireError

S = 256 * KIB
AT = 10  # the slice that is asked for first
HALF = S // 2
TREE = {"store": {"memory": "32 MiB", "slice": "256 KiB"}, "limits": {"connections_per_address": 20_000}}


class Halves(Vast):
    """Slices come in two halves, each when its signal is there."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.half = Signal("everybody has asked"), Signal("everybody has the first half")
        self.others_change = False

    def __call__(self, request: Request) -> None:
        first, last = (int(word) for word in (request["range"] or "").removeprefix("bytes=").split("-"))
        if self.others_change and request["if-range"] is not None:
            self.version = 2
            first, last = 0, self.length - 1
        request.conn.hold(self.gate)
        fields = {
            "Cache-Control": "max-age=60",
            "ETag": f'"v{self.version}"',
            "Content-Length": str(last + 1 - first),
        }
        if self.version == 1:
            fields["Content-Range"] = f"bytes {first}-{last}/{self.length}"
        request.conn.head(206 if self.version == 1 else 200, fields)
        if self.version == 2:
            return
        request.conn.send(content(1, first, first + HALF - 1))
        request.conn.hold(self.half)
        request.conn.send(content(1, first + HALF, last))


def ask(nodes: Siblings, number: int, count: int, slices: int = 1) -> list[RawClient]:
    clients = [nodes.client(number, timeout=20) for _ in range(count)]
    for shift, client in enumerate(clients):
        client.request("GET", "/a", {"Range": f"bytes={AT * S + shift}-{(AT + slices) * S - 1}"})
    nodes.waiting(number, count)
    return clients


def asked(origin: Origin) -> list[int]:
    return [
        int((request["range"] or "").removeprefix("bytes=").split("-")[0]) // S for request in origin.requests
    ]


@pytest.mark.parametrize("slices", [1, 3])
def test_one_request_a_slice_for_the_node(slices: int) -> None:
    a = Halves()
    with Origin(a, patience=30) as origin, Siblings(site(origin, **TREE)) as nodes:
        clients = [*ask(nodes, 0, 5, slices), *ask(nodes, 1, 5, slices)]
        a.gate.set()
        bodies = [client.read_head()[1] for client in clients]
        for number, body in enumerate(bodies):
            shift = number % 5
            assert body.exactly(HALF - shift) == content(1, AT * S + shift, AT * S + HALF - 1)
        a.half.set()
        for body in bodies:
            assert body.rest() == content(1, AT * S + HALF, (AT + slices) * S - 1)
        assert sorted(asked(origin)) == list(range(AT, AT + slices))
        for number in (0, 1):
            got = nodes.client(number).get("/a", {"Range": f"bytes={AT * S}-{(AT + slices) * S - 1}"})
            assert got.body == content(1, AT * S, (AT + slices) * S - 1)
        assert origin.count() == slices
        eventually(lambda: nodes.memory.audit()["filling_runs"] == 0)


def test_the_worker_dies_before_the_head() -> None:
    a = Halves()
    a.half.set()
    with Origin(a, patience=30) as origin, Siblings(site(origin, **TREE)) as nodes:
        ask(nodes, 0, 3)
        others = ask(nodes, 1, 3)
        eventually(lambda: origin.count() == 1)
        nodes.kill(0)
        nodes.waiting(1, 3)
        a.gate.set()
        for shift, client in enumerate(others):
            assert client.read_response().body == content(1, AT * S + shift, (AT + 1) * S - 1)
        assert asked(origin) == [AT, AT]


@pytest.mark.parametrize("same", [True, False])
def test_the_worker_dies_in_the_middle(same: bool) -> None:
    """Who has half a slice gets the other half from a request under the same validator, or is cut."""
    a = Halves()
    a.others_change = not same
    with Origin(a, patience=30) as origin, Siblings(site(origin, **TREE)) as nodes:
        ask(nodes, 0, 3)
        others = ask(nodes, 1, 3)
        a.gate.set()
        bodies = [client.read_head()[1] for client in others]
        for shift, body in enumerate(bodies):
            assert body.exactly(HALF - shift) == content(1, AT * S + shift, AT * S + HALF - 1)
        nodes.kill(0)
        a.half.set()
        for body in bodies:
            if same:
                assert body.rest() == content(1, AT * S + HALF, (AT + 1) * S - 1)
            else:
                with pytest.raises(WireError):
                    body.exactly(HALF)
        assert asked(origin)[:2] == [AT, AT]
        assert origin.requests[1]["if-range"] == '"v1"'
        assert origin.count() == 2


def test_a_purge_parts_those_who_come_later() -> None:
    a = Halves()
    a.gate.set()
    with Origin(a, patience=30) as origin, Siblings(site(origin, **TREE)) as nodes:
        (early,) = ask(nodes, 0, 1)
        _, body = early.read_head()
        assert body.exactly(HALF) == content(1, AT * S, AT * S + HALF - 1)
        nodes.memory.purge_all()
        (late,) = ask(nodes, 1, 1)
        eventually(lambda: origin.count() == 2)
        a.half.set()
        assert body.rest() == content(1, AT * S + HALF, (AT + 1) * S - 1)
        assert late.read_response().body == content(1, AT * S, (AT + 1) * S - 1)


def test_an_error_goes_to_everybody_and_leaves_nothing() -> None:
    gate = Signal("everybody has asked")
    a = Vast(10 * GIB)
    a.status = 404

    def rule(request: Request) -> object:
        request.conn.hold(gate)
        return a(request)

    with Origin(rule, patience=30) as origin, Siblings(site(origin, **TREE)) as nodes:
        clients = [*ask(nodes, 0, 3), *ask(nodes, 1, 3)]
        eventually(lambda: origin.count() == 1)
        gate.set()
        assert [client.read_response().status for client in clients] == [404] * 6
        assert origin.count() <= 7
        eventually(lambda: nodes.memory.audit()["filling_runs"] == 0)
