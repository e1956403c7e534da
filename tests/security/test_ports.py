"""A port in use is noticed, and said in one sentence; a node that was killed leaves its port free."""

from __future__ import annotations

import signal
import socket

import pytest

from tests.harness import Origin, RawClient, Reply, Request, Signal, eventually, fresh, site
from tests.harness.process import Serve


def test_a_second_node_on_the_same_port_is_refused() -> None:
    with Origin(fresh(60)) as origin, Serve(site(origin)) as first:
        with Serve(site(origin, listen=[f"http://127.0.0.1:{first.port}"]), wait=False) as second:
            assert second.wait() == 2
            assert str(first.port) in second.stderr
            assert len(second.stderr.strip().splitlines()) == 1
        for _ in range(20):  # every connection still reaches the first one
            assert first.get("/a").status == 200


@pytest.mark.parametrize("option", [None, socket.SO_REUSEPORT])
def test_a_foreign_owner_is_noticed(option: int | None) -> None:
    with socket.socket() as foreign:
        if option is not None:
            foreign.setsockopt(socket.SOL_SOCKET, option, 1)
        foreign.bind(("127.0.0.1", 0))
        foreign.listen()
        port = foreign.getsockname()[1]
        with Origin(fresh(60)) as origin:
            with Serve(site(origin, listen=[f"http://127.0.0.1:{port}"]), wait=False) as node:
                assert node.wait() == 2
                assert "Traceback" not in node.stderr


def test_a_killed_node_leaves_its_port() -> None:
    with Origin(fresh(60)) as origin:
        with Serve(site(origin)) as first:
            assert first.get("/a").status == 200
            first.signal(signal.SIGKILL)
            first.wait()
            port = first.port
        with Serve(site(origin, listen=[f"http://127.0.0.1:{port}"]), wait=False) as second:
            second.port = port
            eventually(second._reachable, "the second node", 10)
            assert second.get("/a").status == 200


def test_sigterm_finishes_what_is_under_way() -> None:
    gate = Signal("the node was told to end")

    def rule(request: Request) -> Reply:
        request.conn.hold(gate)
        return fresh(60, b"finished")

    with Origin(rule, patience=20) as origin, Serve(site(origin)) as node:
        with RawClient(node.port, timeout=10) as client:
            client.request("GET", "/a")
            origin.wait_for(1)
            node.signal(signal.SIGTERM)
            eventually(lambda: refused(node.port), "the listener's end", 5)
            gate.set()
            assert client.read_response().body == b"finished"
        assert node.wait() == 0


def test_a_second_sigterm_ends_at_once() -> None:
    with Origin(lambda request: request.conn.stall()) as origin, Serve(site(origin)) as node:
        with RawClient(node.port) as client:
            client.request("GET", "/a")
            origin.wait_for(1)
            node.signal(signal.SIGTERM)
            eventually(lambda: refused(node.port), "the listener's end", 5)
            node.signal(signal.SIGTERM)
            node.wait(3)


def refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return True
    return False
