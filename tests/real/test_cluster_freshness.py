"""Freshness, validators, tags and rewrites over two tiers of processes, with two workers each."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import pytest

from ..harness import Crew, Origin, RawClient, Reply, Request, Response, reply
from ..harness.sync import eventually
from .node import Node
from .test_cluster_tiers import Tiers, members, names

BODY = b"the same bytes " * 70_000  # 1 MB
STORE = {"memory": "64 MiB"}
pytestmark = pytest.mark.usefixtures("secret")


def sent(nodes: list[Node]) -> int:
    return sum(int(node.stats()["bytes"]["out"]) for node in nodes)


def member(response: Response, node: str) -> str:
    """What one node says in Cache-Status."""
    (found,) = [one for one in members(response, "cache-status") if one.startswith(f"{node};")]
    return found


def test_an_unchanged_object_costs_a_304_on_each_hop(stack: ExitStack) -> None:
    def answer(request: Request) -> Reply:
        fields = {"ETag": '"v"', "Cache-Control": "max-age=1"}
        return reply(304, fields) if request["if-none-match"] == '"v"' else reply(200, fields, BODY)

    with Origin(answer, patience=20) as origin:
        tiers = Tiers(stack, origin, edges=1, shields=1, workers=2, store=STORE)
        (edge,) = tiers.edges
        assert edge.get("/a").body == BODY
        eventually(lambda: sent(tiers.shields) >= len(BODY), "the figures of the shield")
        before = sent(tiers.shields)

        def again() -> bool:  # a shield may still be fresh when the edge is not any more
            got = edge.get("/a")
            assert got.body == BODY
            return all("fwd-status=304" in member(got, node) for node in ("shield-1", "edge-1"))

        eventually(again, "an answer that both have validated", 30, 1.3)
        assert origin.count() >= 2
        assert [request["if-none-match"] for request in origin.requests[1:]] == ['"v"'] * (origin.count() - 1)
        time.sleep(0.1)
        assert sent(tiers.shields) - before < 5_000  # no body passed between the tiers again


def test_age_is_that_of_the_origins_answer(stack: ExitStack) -> None:
    def answer(request: Request) -> Reply:
        return reply(200, {"Cache-Control": "max-age=600"}, b"x")

    with Origin(answer, patience=20) as origin:
        tiers = Tiers(stack, origin, shields=1)
        one, two = tiers.edges
        begun = time.time()
        one.get("/a")
        time.sleep(2.1)
        got = two.get("/a")  # from the shield
        assert names(got, "cache-status") == ["shield-1", "edge-2"]
        assert 1 <= int(got["age"] or 0) <= time.time() - begun + 2
        assert int(two.get("/a")["age"] or 0) >= int(got["age"] or 0)
        assert origin.count() == 1


def test_an_edge_answers_stale_while_both_tiers_validate(stack: ExitStack) -> None:
    gate, number = threading.Event(), iter(range(1, 1000))
    gate.set()

    def answer(request: Request) -> Reply:
        assert gate.wait(60)
        fields = {"Cache-Control": "max-age=1, stale-while-revalidate=600"}
        return reply(200, fields, b"%d" % next(number))

    with Origin(answer, patience=60) as origin:
        tiers = Tiers(stack, origin, edges=1, shields=1, workers=2)
        (edge,) = tiers.edges
        assert edge.get("/a").body == b"1"
        gate.clear()
        try:

            def stale() -> bool:
                got = edge.get("/a")  # the origin answers nobody meanwhile
                assert got.body == b"1"
                return int(got["age"] or 0) >= 2

            eventually(stale, "a stale answer", 20, 0.1)
            eventually(lambda: origin.count() == 2, "a request in the background", 20)
        finally:
            gate.set()
        eventually(lambda: int(edge.get("/a").body) >= 2, "the newer one", 20, 0.05)


def test_a_purge_by_tag_holds_in_both_tiers_though_clients_see_no_tags(stack: ExitStack) -> None:
    number = iter(range(1, 1000))

    def answer(request: Request) -> Reply:
        fields = {
            "Cache-Control": "max-age=600",
            "Surrogate-Key": f"all t{request.target[1:]}",
            "Cache-Tag": "c",
        }
        return reply(200, fields, b"%d" % next(number))

    with Origin(answer, patience=20) as origin:
        route = {"headers": {"response": {"remove": ["Surrogate-Key", "Cache-Tag"]}}}
        tiers = Tiers(stack, origin, shields=1, workers=2, route=route)
        for edge in tiers.edges:
            for target in ("/a", "/b"):
                got = edge.get(target)
                assert (got["surrogate-key"], got["cache-tag"]) == (None, None)
        assert origin.count() == 2
        for node in (*tiers.shields, *tiers.edges):
            purge(node, tags=["ta"])
        for edge in tiers.edges:
            assert edge.get("/a").body == b"3"
            assert edge.get("/b").body == b"2"
        assert origin.count() == 3


def purge(node: Node, **wanted: Any) -> None:
    with RawClient(node.admin, timeout=20) as client:
        said = json.dumps(wanted).encode()
        where = f"127.0.0.1:{node.admin}"
        assert (
            client.ask("POST", "/v1/purge", {"Content-Type": "application/json"}, said, host=where).status
            == 200
        )


def test_a_rewrite_is_made_once(stack: ExitStack) -> None:
    with Origin(
        lambda request: reply(200, {"Cache-Control": "max-age=60"}, request.target.encode())
    ) as origin:
        tiers = Tiers(stack, origin, edges=1, route={"rewrite": {"add_prefix": "/v2"}})
        assert tiers.edges[0].get("/a").body == b"/v2/a"


@pytest.mark.timeout(300)
def test_clients_of_all_workers_of_all_edges_make_one_request(stack: ExitStack) -> None:
    gate = threading.Event()

    def answer(request: Request) -> Reply:
        assert gate.wait(60)
        return reply(200, {"Cache-Control": "max-age=600"}, BODY)

    with Origin(answer, patience=60) as origin:
        tiers = Tiers(stack, origin, workers=2, store=STORE, origin_timeouts={"first_byte": "50s"})
        with Crew(patience=60) as crew:
            tasks = []
            for edge in tiers.edges:
                for number in range(2):
                    with alone(edge, number):
                        tasks += [crew.start(partial(patient, edge)) for _ in range(10)]
                        eventually(partial(taken, edge, number, 10), "the clients of a worker", 30, 0.05)
            eventually(lambda: min(map(under_way, tiers.edges)) == 20, "the clients", 30, 0.05)
            gate.set()
            assert all(task.result(60) == BODY for task in tasks)
        for edge in tiers.edges:
            assert len([one for one in edge.stats()["workers"] if one["requests"]]) == 2
        assert origin.count() == 1
        eventually(lambda: tiers.asked() == 2, "the counters of the shields")


def patient(node: Node) -> bytes:
    with RawClient(node.port, timeout=60) as client:
        return client.get("/a").body


@contextmanager
def alone(node: Node, number: int) -> Iterator[None]:
    """Only this worker of the node runs, so that it takes whoever comes."""
    others = [one["pid"] for one in node.stats()["workers"] if one["worker"] != number]
    for pid in others:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in others:
            os.kill(pid, signal.SIGCONT)


def taken(node: Node, number: int, count: int) -> bool:
    return bool(node.stats()["workers"][number]["connections"] >= count)


def under_way(node: Node) -> int:
    return int(node.stats()["exchanges"])
