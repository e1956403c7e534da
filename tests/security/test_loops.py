"""A node that is its own origin, directly or round a corner, notices: 508 instead of a request without end
(RFC 8586)."""

from __future__ import annotations

import pytest

from tests.harness import Origin, eventually, fresh, site
from tests.harness.process import Serve, free_port
from tests.harness.proxy import Proxy


def test_a_node_that_asks_itself() -> None:
    port = free_port()
    with Serve(site(port, listen=[f"http://127.0.0.1:{port}"]), wait=False) as node:
        node.port = port
        eventually(node._reachable, "the node", 10)
        assert node.get("/a").status == 508


def test_two_nodes_that_ask_each_other() -> None:
    one, two = free_port(), free_port()
    first = site(two, listen=[f"http://127.0.0.1:{one}"], node={"name": "edge-1"})
    second = site(one, listen=[f"http://127.0.0.1:{two}"], node={"name": "edge-2"})
    with Serve(first, wait=False) as a, Serve(second, wait=False) as b:
        a.port, b.port = one, two
        eventually(a._reachable, "the first node", 10)
        eventually(b._reachable, "the second node", 10)
        assert a.get("/a").status == 508
        assert b.get("/b").status == 508


@pytest.mark.parametrize(
    ("value", "status"),
    [
        ("edge-1", 508),
        ("other, edge-1", 508),
        ("edge-1; a=b", 508),
        ('other; x="edge-1"', 200),
        ("edge-10", 200),
        ("other", 200),
        (", ".join(f"hop-{number}" for number in range(100)), 508),
    ],
)
def test_the_field(value: str, status: int) -> None:
    with Origin(fresh(60)) as origin, Proxy(site(origin)) as proxy:
        assert proxy.get("/a", {"CDN-Loop": value}).status == status
        assert origin.count() == (status == 200)
        if status == 200:
            assert origin.last["cdn-loop"] == f"{value}, edge-1"


def test_a_client_cannot_take_it_away() -> None:
    with Origin(fresh(60)) as origin, Proxy(site(origin)) as proxy:
        assert proxy.get("/a", {"Connection": "CDN-Loop", "CDN-Loop": "edge-1"}).status == 508
        assert origin.count() == 0
