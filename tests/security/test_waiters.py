"""A thousand clients waiting for one key: one request to the origin, and all are answered, whatever becomes
of it."""

from __future__ import annotations

import pytest

from tests.harness import Origin, RawClient, Reply, Request, Signal, fresh, reply, site
from tests.harness.proxy import Proxy
from tests.harness.sync import eventually


def gather(proxy: Proxy, count: int) -> list[RawClient]:
    clients = [proxy.client(timeout=20) for _ in range(count)]
    for client in clients:
        client.request("GET", "/c")
    proxy.settle()
    return clients


LIMITS = {"connections_per_address": 20_000}


@pytest.mark.parametrize("count", [200, pytest.param(1000, marks=pytest.mark.full)])
def test_one_request_for_all(count: int) -> None:
    gate, half = Signal("all wait"), Signal("all have half of it")

    def rule(request: Request) -> None:
        request.conn.hold(gate)
        request.conn.head(200, {"Cache-Control": "max-age=600", "Content-Length": "8"})
        request.conn.send(b"half")
        request.conn.hold(half)
        request.conn.send(b"done")

    with Origin(rule, patience=30) as origin, Proxy(site(origin, limits=LIMITS)) as proxy:
        clients = gather(proxy, count)
        assert proxy.stats()["flights"] == 1
        gate.set()
        bodies = [client.read_head()[1] for client in clients]
        assert all(body.exactly(4) == b"half" for body in bodies)
        half.set()
        assert all(body.rest() == b"done" for body in bodies)
        assert origin.count() == 1
        assert proxy.stats()["flights"] == 0


@pytest.mark.parametrize("how", ["reset", "close", "silence", "nonsense"])
def test_an_origin_that_fails_frees_all(how: str) -> None:
    gate = Signal("all wait")

    def rule(request: Request) -> None:
        request.conn.hold(gate)
        if how == "silence":
            request.conn.stall()
        elif how == "nonsense":
            request.conn.send(b"nonsense\r\n\r\n")
        else:
            getattr(request.conn, how)()

    tree = site(0, limits=LIMITS, origin_timeouts={"first_byte": "1s"})
    with Origin(rule, patience=30) as origin:
        tree["origins"]["app"]["servers"] = [origin.url]
        with Proxy(tree) as proxy:
            clients = gather(proxy, 100)
            gate.set()
            statuses = {client.read_response().status for client in clients}
            assert statuses == {504 if how == "silence" else 502}
            assert origin.count() <= 2
            assert proxy.stats()["flights"] == 0


def test_many_that_leave_leave_nothing_behind() -> None:
    gate = Signal("most have left")

    def rule(request: Request) -> Reply:
        request.conn.hold(gate)
        return fresh(600, b"for who stayed")

    with Origin(rule, patience=30) as origin, Proxy(site(origin, limits=LIMITS)) as proxy:
        clients = gather(proxy, 100)
        for client in clients[:-1]:
            client.reset()
        proxy.settle()
        gate.set()
        assert clients[-1].read_response().body == b"for who stayed"
        assert origin.count() == 1
        assert proxy.stats()["exchanges"] == 0


def test_all_that_wait_leave() -> None:
    gate = Signal("all have left")

    def rule(request: Request) -> Reply:
        if origin.count() == 1:
            request.conn.hold(gate)
        return fresh(600, b"%d" % origin.count())

    with Origin(rule, patience=30) as origin, Proxy(site(origin, limits=LIMITS)) as proxy:
        for client in gather(proxy, 50):
            client.reset()
        proxy.settle()
        gate.set()
        assert proxy.get("/c").status == 200
        assert origin.count() <= 2
        assert proxy.stats()["flights"] == 0


def test_uncacheable_frees_all_at_once_and_is_remembered() -> None:
    gate = Signal("all wait")
    count = 100

    def rule(request: Request) -> Reply:
        if origin.count() == 1:
            gate.wait(20)
        return reply(200, {"Cache-Control": "private"}, b"mine")

    with Origin(rule, patience=30) as origin, Proxy(site(origin, limits=LIMITS)) as proxy:
        clients = gather(proxy, count)
        eventually(lambda: origin.count() == 1, "the one request")  # the others wait: there is no second
        gate.set()
        assert all(client.read_response().body == b"mine" for client in clients)
        assert origin.count() == count
