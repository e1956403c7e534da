"""Edge → shield → origin: one home for a key, one request for many, words that are believed and words that are not."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from cdn.rules.edge_word import word
from tests.harness import Crew, Origin, RawClient, Reply, Request, Response, fresh, reply, site
from tests.harness.process import free_port
from tests.harness.proxy import Proxy, ours
from tests.harness.sync import eventually
from tests.tier.certificates import Authority

SECRET = "a secret of more than 16 characters"


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDN_TEST_SHIELD", SECRET)


class Tiers:
    """Edges and shields in front of one origin; `edges` and `shields` in the order they were made."""

    def __init__(
        self, stack: ExitStack, origin: Origin, edges: int = 1, shields: int = 1, **more: Any
    ) -> None:
        self.shields = [stack.enter_context(Proxy(self._shield(origin, n, more))) for n in range(shields)]
        ports = [shield.port for shield in self.shields] + more.pop("dead", [])
        self.edges = [stack.enter_context(Proxy(self._edge(origin, n, ports, more))) for n in range(edges)]
        nodes = [*self.shields, *self.edges]
        latest = max(node.now() for node in nodes)  # each began at the second it was made in
        for node in nodes:
            node.advance(latest - node.now())

    @staticmethod
    def _shield(origin: Origin, number: int, more: dict[str, Any]) -> dict[str, Any]:
        tree = site(origin, more.get("cache"), route=more.get("routes"))
        tree["node"] = {"name": f"shield-{number + 1}", "tier": "shield"}
        tree["edges"] = {"secret_env": "CDN_TEST_SHIELD"}
        return tree

    @staticmethod
    def _edge(origin: Origin, number: int, ports: list[int], more: dict[str, Any]) -> dict[str, Any]:
        tree = site(origin, more.get("cache"), route=more.get("routes") or more.get("route"))
        tree["node"] = {"name": f"edge-{number + 1}"}
        tree["shields"] = {
            "servers": [f"http://127.0.0.1:{port}" for port in ports],
            "secret_env": "CDN_TEST_SHIELD",
            **more.get("pool", {}),
        }
        return tree


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as made:
        yield made


def names(response: Response, field: str) -> list[str]:
    """The members of a list field without their parameters."""
    return [member.split(";")[0].strip() for member in (response[field] or "").split(",")]


def test_a_miss_goes_through_both_tiers_and_both_keep_it(stack: ExitStack) -> None:
    origin = stack.enter_context(Origin(fresh(60, b"hello")))
    tiers = Tiers(stack, origin, edges=2)
    one, two = tiers.edges
    first = one.get("/a")
    assert first.body == b"hello"
    assert names(first, "cache-status") == ["shield-1", "edge-1"]
    assert [via.split()[-1] for via in names(first, "via")] == ["shield-1", "edge-1"]
    second = two.get("/a")
    assert second.body == b"hello"
    assert second.all("cache-status")[0].startswith("shield-1; hit")
    assert origin.count() == 1
    with one.lanes(hit=1):
        assert one.get("/a").body == b"hello"
    assert origin.requests[0]["cdn-loop"] == "edge-1, shield-1"
    assert origin.requests[0]["cdn-edge"] is None


def test_age_is_carried_on(stack: ExitStack) -> None:
    origin = stack.enter_context(Origin(fresh(60, b"hello")))
    tiers = Tiers(stack, origin, edges=2)
    tiers.edges[0].get("/a")
    for node in (*tiers.edges, *tiers.shields):
        node.advance(40)
    late = tiers.edges[1].get("/a")
    assert late["Age"] == "40"
    assert origin.count() == 1
    tiers.edges[1].advance(21)
    tiers.shields[0].advance(21)
    tiers.edges[1].get("/a")  # 61 s old everywhere
    assert origin.count() == 2


def test_an_unchanged_object_costs_a_304_between_the_tiers(stack: ExitStack) -> None:
    def answer(request: Request) -> Reply:
        if request["if-none-match"] == '"v1"':
            return reply(304, {"ETag": '"v1"', "Cache-Control": "max-age=60"})
        return reply(200, {"ETag": '"v1"', "Cache-Control": "max-age=60"}, b"x" * 1000)

    origin = stack.enter_context(Origin(answer))
    tiers = Tiers(stack, origin)
    edge, shield = tiers.edges[0], tiers.shields[0]
    edge.get("/a")
    edge.advance(61)
    shield.advance(61)
    again = edge.get("/a")
    assert again.body == b"x" * 1000
    assert ours(again).get("fwd-status") == "304"
    assert origin.requests[-1]["if-none-match"] == '"v1"'


def test_the_same_edits_on_both_take_nothing_from_the_edges_decision(stack: ExitStack) -> None:
    """What clients are not to see is kept between the tiers: by it the edge decides, and says so."""

    def answer(request: Request) -> Reply:
        if request.target == "/cookie":
            return reply(200, {"Set-Cookie": "a=b"}, b"x")  # not stored for a configured lifetime
        return reply(200, {"Cache-Control": "max-age=60", "ETag": '"v"', "Surrogate-Key": "a"}, b"x")

    edits = {
        "set": {"Cache-Control": "no-store", "X-A": "1"},
        "remove": ["Set-Cookie", "ETag", "Surrogate-Key"],
    }
    origin = stack.enter_context(Origin(answer))
    tiers = Tiers(stack, origin, routes={"headers": {"response": edits}, "cache": {"ttl": "60s"}})
    edge, shield = tiers.edges[0], tiers.shields[0]
    first = edge.get("/a")
    assert [first[name] for name in ("cache-control", "etag", "surrogate-key", "x-a")] == [
        "no-store",
        None,
        None,
        "1",
    ]
    with edge.lanes(hit=1):
        again = edge.get("/a")
    assert [again[name] for name in ("cache-control", "surrogate-key", "x-a")] == ["no-store", None, "1"]
    between = shield.get("/a")
    assert [between[name] for name in ("cache-control", "etag", "surrogate-key", "x-a")] == [
        "max-age=60", '"v"', "a", "1",
    ]  # fmt: skip
    assert origin.count() == 1
    for _ in range(2):
        assert edge.get("/cookie")["set-cookie"] is None
    assert edge.stats()["no_store"]["set-cookie"] == 2
    assert origin.count() == 3


def test_many_clients_of_two_edges_make_one_request(stack: ExitStack) -> None:
    def slow(request: Request) -> Reply:
        time.sleep(0.3)
        return fresh(60, b"z" * 300_000)

    origin = stack.enter_context(Origin(slow))
    tiers = Tiers(stack, origin, edges=2)
    with Crew(patience=30) as crew:
        tasks = [crew.start(lambda node=node: node.get("/cold").body) for node in tiers.edges * 20]
        assert {task.result(30) for task in tasks} == {b"z" * 300_000}
    assert origin.count() == 1
    eventually(lambda: sum(tiers.shields[0].stats()["lanes"].values()) == 2, "the counters of the shield")


def test_each_key_has_one_home(stack: ExitStack) -> None:
    origin = stack.enter_context(Origin(fresh(60, b"x")))
    tiers = Tiers(stack, origin, edges=2, shields=2)
    for index in range(40):
        for edge in tiers.edges:
            assert edge.get(f"/{index}").status == 200
    assert origin.count() == 40

    def held() -> list[int]:
        return [shield.stats()["store"]["objects"] for shield in tiers.shields]

    eventually(lambda: sum(held()) == 40, "what the shields hold")
    assert min(held()) >= 5


def test_a_dead_shield_is_passed_over_and_then_the_origin_is_asked(stack: ExitStack) -> None:
    origin = stack.enter_context(Origin(fresh(60, b"x")))
    tiers = Tiers(stack, origin, shields=1, dead=[free_port()])
    for index in range(20):
        assert tiers.edges[0].get(f"/{index}").status == 200
    eventually(lambda: tiers.shields[0].stats()["store"]["objects"] == 20, "what the shield holds")

    alone = stack.enter_context(Proxy(Tiers._edge(origin, 7, [free_port(), free_port()], {})))
    for index in range(20, 40):
        assert alone.get(f"/{index}").body == b"x"
    assert alone.stats()["shields"]["direct"] == 20
    assert origin.count() == 40


def test_a_shield_that_resets_costs_one_more_try_and_no_error(stack: ExitStack) -> None:
    origin = stack.enter_context(Origin(fresh(60, b"x")))
    broken = stack.enter_context(Origin(lambda request: request.conn.close()))
    edge = stack.enter_context(Proxy(Tiers._edge(origin, 0, [broken.port], {})))
    assert edge.get("/a").body == b"x"
    assert edge.stats()["shields"]["direct"] == 1


def test_routes_may_leave_the_shields_out(stack: ExitStack) -> None:
    origin = stack.enter_context(Origin(fresh(60, b"x")))
    tiers = Tiers(stack, origin, route={"shield": False})
    assert names(tiers.edges[0].get("/a"), "cache-status") == ["edge-1"]
    assert tiers.shields[0].stats()["store"]["objects"] == 0


def test_a_post_reaches_the_origin_once_and_invalidates_both_tiers(stack: ExitStack) -> None:
    origin = stack.enter_context(Origin(fresh(60, b"x")))
    tiers = Tiers(stack, origin)
    edge = tiers.edges[0]
    edge.get("/a")
    assert edge.ask("POST", "/a", body=b"hello").status == 200
    assert [request.method for request in origin.requests] == ["GET", "POST"]
    assert origin.requests[-1].body == b"hello"
    edge.get("/a")
    assert [request.method for request in origin.requests] == ["GET", "POST", "GET"]


def test_a_loop_is_refused_once(stack: ExitStack) -> None:
    port = free_port()
    origin = stack.enter_context(Origin(fresh(60, b"never")))
    shield = site(origin)
    shield.update(node={"name": "shield-1", "tier": "shield"}, edges={"secret_env": "CDN_TEST_SHIELD"})
    shield["origins"]["app"]["servers"] = [f"http://127.0.0.1:{port}"]
    back = stack.enter_context(Proxy(shield))
    tree = Tiers._edge(origin, 0, [back.port], {})
    tree["listen"] = [f"http://127.0.0.1:{port}"]
    edge = stack.enter_context(Proxy(tree))
    began = time.monotonic()
    got = edge.get("/a")
    assert got.status == 508
    assert time.monotonic() - began < 5
    assert origin.count() == 0


@pytest.mark.parametrize(
    "said",
    [
        "nonsense",
        "v1;t={now};scheme=https",
        "v1;t={now};scheme=https;mac=00",
        "v1;t={now};scheme=https;mac=\xff",
        "{other}",
        "{old}",
        "{target}",
    ],
)
def test_a_word_that_is_not_believed_is_as_none(stack: ExitStack, said: str) -> None:
    """No foreign X-Forwarded-For is believed for it, and the scheme stays the connection's."""
    origin = stack.enter_context(Origin(fresh(60, b"x")))
    shield = Tiers(stack, origin, edges=0).shields[0]
    now = int(time.time())
    about = {"scheme": "https", "method": "GET", "host": "site.test", "target": "/a"}
    value = said.format(
        now=now,
        other=word(b"another secret of enough length", now=now, **about),
        old=word(SECRET.encode(), now=now - 3600, **about),
        target=word(SECRET.encode(), now=now, **{**about, "target": "/b"}),
    )
    with shield.client() as client:
        fields = {"CDN-Edge": value, "X-Forwarded-For": "10.9.8.7", "X-Forwarded-Proto": "https"}
        assert client.get("/a", fields).status == 200
    asked = origin.requests[0]
    assert "10.9.8.7" not in (asked["x-forwarded-for"] or "")
    assert asked["x-forwarded-proto"] == "http"
    assert asked["cdn-edge"] is None
    assert any(kind == "edge" for kind, _ in shield.reports)


def test_a_believed_word_says_who_the_client_is_and_how_it_came(stack: ExitStack) -> None:
    origin = stack.enter_context(Origin(fresh(60, b"x")))
    shield = Tiers(stack, origin, edges=0).shields[0]
    now = int(time.time())
    value = word(SECRET.encode(), now=now, scheme="https", method="GET", host="site.test", target="/a")
    with shield.client() as client:
        fields = {"CDN-Edge": value, "X-Forwarded-For": "10.9.8.7", "X-Forwarded-Proto": "https"}
        assert client.get("/a", fields).status == 200
        assert client.get("/a").status == 200  # over http: another key
    assert origin.count() == 2
    assert (origin.requests[0]["x-forwarded-for"] or "").startswith("10.9.8.7")
    assert origin.requests[0]["x-forwarded-proto"] == "https"


def test_an_edge_believes_nobodys_word(stack: ExitStack) -> None:
    origin = stack.enter_context(Origin(fresh(60, b"x")))
    edge = stack.enter_context(Proxy(site(origin)))
    value = word(
        SECRET.encode(), now=int(time.time()), scheme="https", method="GET", host="site.test", target="/a"
    )
    with edge.client() as client:
        client.get("/a", {"CDN-Edge": value, "X-Forwarded-Proto": "https"})
    assert origin.requests[0]["x-forwarded-proto"] == "http"
    assert origin.requests[0]["cdn-edge"] is None


def test_a_range_stays_a_range(stack: ExitStack) -> None:
    body = bytes(range(256)) * 40

    def answer(request: Request) -> Reply:
        span = request["range"]
        if span is None:
            return reply(200, {"ETag": '"v"', "Cache-Control": "max-age=60"}, body)
        first, last = (int(part) for part in span.removeprefix("bytes=").split("-"))
        last = min(last, len(body) - 1)
        fields = {
            "ETag": '"v"',
            "Cache-Control": "max-age=60",
            "Content-Range": f"bytes {first}-{last}/{len(body)}",
        }
        return reply(206, fields, body[first : last + 1])

    origin = stack.enter_context(Origin(answer))
    tiers = Tiers(stack, origin)
    with RawClient(tiers.edges[0].port) as client:
        got = client.get("/a", {"Range": "bytes=1000-1099"})
    assert (got.status, got.body) == (206, body[1000:1100])
    assert origin.requests[0]["range"] is not None


def files(authority: Authority, *names: str) -> dict[str, str]:
    certificate, key = authority.leaf(*names)
    return {"certificate": str(certificate), "key": str(key)}


def test_a_client_certificate_shows_an_edge(stack: ExitStack, tmp_path: Path) -> None:
    authority = Authority.create(tmp_path)
    origin = stack.enter_context(Origin(fresh(60, b"x")))
    shield = Tiers._shield(origin, 0, {})
    del shield["edges"]
    listener = {**files(authority, "IP:127.0.0.1"), "client_ca": str(authority.file)}
    shield["listen"] = [{"url": "https://127.0.0.1:0", **listener}]
    node = stack.enter_context(Proxy(shield))
    edge = Tiers._edge(origin, 0, [], {})
    trust = {"ca": str(authority.file)}
    edge["shields"] = {
        "servers": [f"https://127.0.0.1:{node.port}"],
        "tls": {**trust, **files(authority, "DNS:edge-1")},
    }
    first = stack.enter_context(Proxy(edge))
    assert names(first.get("/a"), "cache-status") == ["shield-1", "edge-1"]
    assert not any(kind == "edge" for kind, _ in node.reports)

    edge["shields"]["tls"] = trust
    bare = stack.enter_context(Proxy(edge))
    assert (
        bare.get("/b").status == 421
    )  # its Host is not the shield's name, and nothing shows that it is an edge
    assert any("not believed" in sentence for _, sentence in node.reports)
