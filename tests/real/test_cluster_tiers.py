"""What passes between tiers, each node in processes of its own: objects once, ranges as ranges, loops not at all."""

from __future__ import annotations

import json
import re
import resource
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from ..harness import Crew, Origin, RawClient, Reply, Request, Response, fresh, reply, site
from ..harness.process import free_port
from ..harness.sync import eventually
from ..harness.vast import GIB, MIB, Vast, content
from .cluster import SECRET
from .node import Node

pytestmark = pytest.mark.usefixtures("secret")


class Tiers:
    """Edges and shields before one origin; `top` goes to every node (`route` to the route of each), `edge_route` to the
    route of the edges."""

    def __init__(
        self, stack: ExitStack, origin: Origin, *, edges: int = 2, shields: int = 2, **top: Any
    ) -> None:
        edge_route = top.pop("edge_route", None)
        self.shields = []
        for number in range(1, shields + 1):
            tree = site(origin, node={"name": f"shield-{number}", "tier": "shield"}, **top)
            tree["edges"] = {"secret_env": SECRET}
            self.shields.append(stack.enter_context(Node(tree, wait=False)))
        self.edges = []
        for number in range(1, edges + 1):
            tree = site(origin, node={"name": f"edge-{number}"}, **{"route": edge_route, **top})
            tree["shields"] = {
                "servers": [f"http://127.0.0.1:{shield.port}" for shield in self.shields],
                "secret_env": SECRET,
            }
            self.edges.append(stack.enter_context(Node(tree, wait=False)))

        for node in (*self.shields, *self.edges):
            eventually(node._reachable, f"a node on port {node.port}", 20, 0.05)

    def asked(self) -> int:
        """Requests that the shields have answered."""
        return sum(sum(shield.stats()["lanes"].values()) for shield in self.shields)


def members(response: Response, field: str) -> list[str]:
    return [one.strip() for one in ",".join(response.all(field)).split(",") if one.strip()]


def names(response: Response, field: str) -> list[str]:
    return [re.split(r"[; ]", one.removeprefix("1.1 "))[0] for one in members(response, field)]


def cold_object(stack: ExitStack, clients: int, size: int, store: str) -> None:
    vast = Vast(size, 600)
    vast.before = lambda request, first: time.sleep(0.5)
    with Origin(vast, patience=200) as origin:
        tiers = Tiers(stack, origin, store={"memory": store})
        right = content(1, 0, size - 1)

        def whole(port: int) -> None:
            with RawClient(port, timeout=200, receive_buffer=256 << 10) as client:
                client.wire.KEEP = 0  # nothing of what was compared
                client.request("GET", "/vast")
                head, body = client.read_head()
                assert head.status == 200
                body.expect(right)

        began = time.monotonic()
        with Crew(patience=240) as crew:
            tasks = [crew.start(whole, tiers.edges[n % 2].port) for n in range(clients * 2)]
            for task in tasks:
                task.result(240)
        print(
            f"\n{clients} x 2 clients, {size >> 20} MiB: {time.monotonic() - began:.1f} s, "
            f"the origin sent {vast.sent}, the shields were asked {tiers.asked()} times, "
            f"this process held {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MiB at most"
        )
        assert vast.sent == size
        assert tiers.asked() <= 2 * (2 + size // MIB)


def test_many_clients_of_two_edges_cost_the_origin_one_object(stack: ExitStack) -> None:
    cold_object(stack, 20, 16 * MIB, "64 MiB")


@pytest.mark.full
@pytest.mark.timeout(300)
def test_hundreds_of_clients_of_two_edges_cost_the_origin_one_large_object(stack: ExitStack) -> None:
    cold_object(stack, 200, 100 * MIB, "512 MiB")


def test_a_range_of_a_large_object_moves_only_its_slices_on_each_hop(stack: ExitStack) -> None:
    vast = Vast(GIB, 600)
    with Origin(vast, patience=30) as origin:
        tiers = Tiers(stack, origin, store={"memory": "32 MiB"})
        first = 700 * MIB + 12_345
        for edge in tiers.edges:
            with RawClient(edge.port, timeout=20) as client:
                got = client.get("/vast", {"Range": f"bytes={first}-{first + 99_999}"})
            assert got.status == 206
            assert got.body == content(1, first, first + 99_999)
        assert vast.sent <= 4 * MIB
        again = tiers.edges[0].get("/vast", {"Range": f"bytes={first}-{first + 99_999}"})
        assert again.body == got.body
        moved = sum(shield.stats()["bytes"]["out"] for shield in tiers.shields)
        print(f"\nthe origin sent {vast.sent} bytes, the shields {moved}")
        assert moved <= 8 * MIB


def test_a_loop_of_processes_is_refused_once(stack: ExitStack) -> None:
    port = free_port()
    shield = site(port, node={"name": "shield-1", "tier": "shield"}, edges={"secret_env": SECRET})
    back = stack.enter_context(Node(shield))
    edge = site(port)
    edge["shields"] = {"servers": [f"http://127.0.0.1:{back.port}"], "secret_env": SECRET}
    front = stack.enter_context(Node(edge, port=port))
    began = time.monotonic()
    assert front.get("/a").status == 508
    assert time.monotonic() - began < 5
    assert sum(front.stats()["lanes"].values()) == 2


@pytest.fixture
def many() -> Iterator[Origin]:
    """By path: what each of the tests below asks for."""

    def answer(request: Request) -> Reply | None:
        path = request.target
        if path.startswith("/tagged"):
            return reply(
                200, {"Cache-Control": "max-age=60", "Surrogate-Key": "a b", "Cache-Tag": "c"}, b"tagged"
            )
        if path.startswith("/vary"):
            language = request["accept-language"] or "none"
            return reply(
                200, {"Cache-Control": "max-age=60", "Vary": "Accept-Language"}, language.encode() * 100
            )
        if path.startswith("/early"):
            request.conn.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n")
        if path.startswith("/private"):
            time.sleep(0.2)
            return reply(200, {"Cache-Control": "private"}, b"private")
        if path.startswith("/text"):
            return reply(200, {"Cache-Control": "max-age=60", "Content-Type": "text/html"}, b"text " * 4000)
        return fresh(60, b"page " + path.encode())

    with Origin(answer, patience=20) as made:
        yield made


def test_what_travels_between_tiers(stack: ExitStack, many: Origin) -> None:
    tiers = Tiers(stack, many, edge_route={"compress": ["gzip"]})
    one, two = tiers.edges

    tagged = one.get("/tagged")
    (home,) = [n for n in names(tagged, "cache-status") if n.startswith("shield")]
    assert names(tagged, "cache-status") == [home, "edge-1"]
    assert names(tagged, "via") == [home, "edge-1"]
    assert many.requests[-1]["cdn-loop"] == f"edge-1, {home}"
    assert names(two.get("/tagged"), "cache-status") == [home, "edge-2"]
    assert many.count("/tagged") == 1

    for language in ("de", "fr"):
        for edge in tiers.edges:
            assert edge.get("/vary", {"Accept-Language": language}).body == language.encode() * 100
    assert many.count("/vary") == 2

    with RawClient(one.port) as client:
        head = client.ask("HEAD", "/headed")
        assert (head.status, head["content-length"]) == (200, str(len(b"page /headed")))
        assert client.get("/headed").body == b"page /headed"
        asked = many.count()
        assert client.ask("POST", "/posted", body=b"said").status == 200
        assert many.count() == asked + 1
        assert many.requests[-1].body == b"said"
        early = client.get("/early")
        assert [(one.status, one["link"]) for one in early.interim] == [(103, "</a.css>; rel=preload")]
        assert early.body == b"page /early"
        coded = client.get("/text", {"Accept-Encoding": "gzip"})
        assert coded["content-encoding"] == "gzip"
        assert client.get("/text").body == b"text " * 4000
    assert many.requests[-1]["cdn-edge"] is None


def test_waiters_of_what_cannot_be_stored_are_let_go_in_both_tiers(stack: ExitStack, many: Origin) -> None:
    tiers = Tiers(stack, many)
    began = time.monotonic()
    with Crew(patience=20) as crew:
        tasks = [crew.start(lambda node=node: node.get("/private").body) for node in tiers.edges * 10]
        assert {task.result(20) for task in tasks} == {b"private"}
    took = time.monotonic() - began
    assert many.count("/private") == 20
    assert took < 3  # one after another: 4 s


def test_one_key_of_many_edges_is_one_request_on_each_hop(stack: ExitStack, many: Origin) -> None:
    tiers = Tiers(stack, many, edges=3)
    with Crew(patience=20) as crew:
        tasks = [crew.start(lambda node=node: node.get("/one").body) for node in tiers.edges * 10]
        assert {task.result(20) for task in tasks} == {b"page /one"}
    assert many.count("/one") == 1
    eventually(lambda: tiers.asked() == 3, "the counters of the shields")


def test_the_figures_and_explain_show_the_shields(stack: ExitStack, many: Origin) -> None:
    tiers = Tiers(stack, many, edges=1)
    edge = tiers.edges[0]
    edge.get("/seen")
    shields = edge.stats()["shields"]
    assert (shields["requests"], shields["direct"]) == (1, 0)
    assert sorted(one["answered"] for one in shields["servers"].values()) == [0, 1]
    with RawClient(edge.admin) as client:
        metrics = client.get("/metrics", host=f"127.0.0.1:{edge.admin}").body.decode()
    with RawClient(edge.admin) as client:
        where = f"127.0.0.1:{edge.admin}"
        said = client.get("/v1/explain?url=http://site.test/seen", host=where).body.decode()
    home = json.loads(said)["asks"]
    assert home["shield"] in shields["servers"]
    assert shields["servers"][home["shield"]]["answered"] == 1
    for shield in tiers.shields:
        assert re.search(rf'cdn_origin_server_\w+{{[^}}]*server="http://127.0.0.1:{shield.port}"', metrics)
