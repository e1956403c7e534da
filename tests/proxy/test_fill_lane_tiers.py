"""Edge → shield → origin down the fill lanes of both: the same as down their general lanes."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest

from cdn.rules.edge_word import word
from tests.harness import HOST, Origin, Reply, Signal, eventually, fresh, reply, request_bytes, site
from tests.harness.proxy import Proxy
from tests.proxy.lanes import NOW, WARM, Ask, lines, told
from tests.proxy.test_fill_lane import BROWSER, ODD
from tests.scenarios.test_k01_shields import SECRET, Tiers

VARYING = {"duration_us", "origin", "origin_first_byte_us"}


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDN_TEST_SHIELD", SECRET)


def answering(rule: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda request: (
        reply(200, {"Cache-Control": "no-store"}, b"warm")
        if request.target.startswith(WARM)
        else rule(request)
    )


def settle(node: Proxy, lane: bool) -> None:
    node.clock.advance(NOW - node.clock.now())
    node._worker.fill_lane.enabled = lane


def warm(edge: Proxy) -> None:
    """Leave kept connections behind, and a word that the shield believes for the next minute."""
    pool = edge._worker.site.shields
    assert pool is not None
    second = int(time.time())
    pool._now = lambda: second
    for n in range(8):
        edge.get(f"{WARM}/{n}")


def run(lane: bool, rule: Callable[[Any], Any], asks: list[Ask], **more: Any) -> dict[str, Any]:
    with ExitStack() as stack:
        origin = stack.enter_context(Origin(answering(rule)))
        tiers = Tiers(stack, origin, **more)
        (edge,) = tiers.edges
        for node in (edge, *tiers.shields):
            settle(node, lane)
        warm(edge)
        skip = origin.count()
        counted = [node.stats()["lanes"] for node in (edge, *tiers.shields)]
        answers = []
        with edge.client() as client:
            for ask in asks:
                answers.append(told(client.ask(ask.method, ask.target, ask.fields)))
        nodes = (edge, *tiers.shields)
        pool = edge._worker.site.shields
        assert pool is not None
        return {
            "answers": answers,
            "asked": [(r.method, r.target, r.fields) for r in origin.requests[skip:]],
            "records": [
                {key: memory.lookup(key).draft() for key in memory.keys()}  # noqa: SIM118 - a store, not a dict
                for memory in (node._worker.memory for node in nodes)
            ],
            "log": lines(edge.log(len(asks) + 8)[8:], VARYING),
            "outcomes": [node.stats()["outcomes"] for node in nodes],
            "pool": (pool.stats()["requests"], pool.stats()["direct"]),
            "fill": [
                node.stats()["lanes"]["fill"] - before["fill"]
                for node, before in zip(nodes, counted, strict=True)
            ],
        }


def same(
    rule: Callable[[Any], Any], asks: list[Ask], fill: list[int] | None = None, **more: Any
) -> dict[str, Any]:
    """Down both lanes; `fill`: how many the lanes of the edge and of the shields took."""
    general, lane = (run(lane, rule, asks, **more) for lane in (False, True))
    taken = lane.pop("fill")
    assert general.pop("fill") == [0] * len(taken)
    for name in general:
        assert lane[name] == general[name], name
    if fill is not None:
        assert taken == fill
    return lane


CASES: dict[str, tuple[Reply, list[Ask], int]] = {
    "stored": (fresh(60, b"body", etag='"e"'), [Ask("/a"), Ask("/b?x=1&y"), Ask("/a")], 2),
    "chunked": (
        reply(200, {"Cache-Control": "max-age=60"}, b"x" * 100_000, framing="chunked"),
        [Ask("/a"), Ask("/b"), Ask("/a")],
        2,
    ),
    "varying": (
        fresh(60, b"body", vary="Accept-Encoding"),
        [Ask("/a", fields=BROWSER), Ask("/b", fields=BROWSER), Ask("/a", fields=BROWSER)],
        2,
    ),
    "aged": (fresh(60, b"body", age="7"), [Ask("/a"), Ask("/b"), Ask("/a")], 2),
    "not stored": (reply(200, {"Cache-Control": "no-store"}, b"x"), [Ask("/a"), Ask("/b"), Ask("/a")], 3),
    "an error": (reply(503, {}, b"x"), [Ask("/a"), Ask("/b")], 2),
    "empty": (fresh(60, b""), [Ask("/a"), Ask("/b"), Ask("/a")], 2),
    "odd fields": (fresh(60, b"x"), [Ask("/a", fields=ODD), Ask("/b", fields=ODD)], 2),
    "credentials": (fresh(60, b"x"), [Ask("/a", fields={"Authorization": "Basic x"}), Ask("/b")], 2),
}


@pytest.mark.parametrize("name", CASES)
def test_through_both_tiers(name: str) -> None:
    answer, asks, taken = CASES[name]
    seen = same(lambda request: answer, asks, [taken, taken])
    assert seen["pool"][1] == 0


def test_each_key_has_its_home() -> None:
    with ExitStack() as stack:
        origin = stack.enter_context(Origin(answering(lambda request: fresh(60, b"x"))))
        tiers = Tiers(stack, origin, shields=2)
        (edge,) = tiers.edges
        warm(edge)
        pool = edge._worker.site.shields
        assert pool is not None
        counted = [shield.stats()["lanes"]["fill"] for shield in tiers.shields]
        targets = [f"/{n}?q={n}" for n in range(24)]
        with edge.client() as client, edge.lanes(fill=len(targets), general=0):
            for target in targets:
                assert client.get(target).body == b"x"
        home = [pool.home("http", HOST, target) for target in targets]
        taken = [
            shield.stats()["lanes"]["fill"] - before
            for shield, before in zip(tiers.shields, counted, strict=True)
        ]
        assert taken == [home.count(f"http://127.0.0.1:{shield.port}") for shield in tiers.shields]
        assert min(taken) > 0


def test_the_routes_edits_and_the_rewrite_are_the_shields() -> None:
    routes = {
        "headers": {
            "request": {"set": {"X-Edge": "1"}, "remove": ["User-Agent"]},
            "response": {"set": {"X-Ours": "1", "Cache-Control": "max-age=5"}, "remove": ["Server"]},
        },
        "rewrite": {"add_prefix": "/in"},
    }

    def rule(request: Any) -> Any:
        if request.target.startswith("/in" + WARM):
            return reply(200, {"Cache-Control": "no-store"}, b"warm")
        return fresh(60, b"x", server="s")

    seen = same(
        rule, [Ask("/a", fields=BROWSER), Ask("/b")], [2, 0], routes=routes
    )  # a shield that rewrites has none
    assert {target for _, target, _ in seen["asked"]} == {"/in/a", "/in/b"}
    del routes["rewrite"]
    same(
        lambda request: fresh(60, b"x", server="s"),
        [Ask("/a", fields=BROWSER), Ask("/b")],
        [2, 2],
        routes=routes,
    )


def test_what_rules_pass_goes_through_shields_too() -> None:
    cookie = {"Cookie": "session=1"}
    asks = [Ask("/a", fields=cookie), Ask("/a?x", "HEAD", cookie), Ask("/a")]
    same(lambda request: fresh(60, b"x"), asks, [3, 3], cache={"bypass": {"cookies": ["session"]}})


# --- a shield alone ---


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_an_edges_miss_at_a_shield(scheme: str) -> None:
    runs = []
    second = int(time.time())

    def said(target: str, method: str = "GET") -> dict[str, str]:
        return {
            "CDN-Edge": word(
                SECRET.encode(), now=second, scheme=scheme, method=method, host=HOST, target=target
            ),
            "X-Forwarded-For": "10.9.8.7",
            "X-Forwarded-Proto": scheme,
            "Via": "1.1 edge-1",
        }

    for lane in (False, True):
        with (
            Origin(answering(lambda request: fresh(60, b"x"))) as origin,
            Proxy(Tiers._shield(origin, 0, {})) as shield,
            shield.client() as client,
        ):
            settle(shield, lane)
            client.ask("GET", WARM, said(WARM))
            with shield.lanes(fill=2 * lane, general=2 * (not lane)):
                answers = [told(client.ask("GET", target, said(target))) for target in ("/a", "/b?c")]
            # nobody's word is worth nothing: another client's, and the key of another scheme
            with shield.lanes(fill=0):
                client.ask("GET", "/c", {**said("/c"), "CDN-Edge": said("/d")["CDN-Edge"]})
            with shield.lanes(hit=1):
                client.ask("GET", "/a", said("/a"))
            other = client.ask("GET", "/a")
            if scheme == "https":
                assert "hit" not in (other["cache-status"] or "")
            runs.append((answers, [(r.target, r.fields) for r in origin.requests]))
    assert runs[0] == runs[1]
    fields = dict(runs[1][1][1][1])
    assert "CDN-Edge" not in fields
    assert fields["X-Forwarded-For"] == "10.9.8.7, 127.0.0.1"
    assert fields["X-Forwarded-Proto"] == scheme


# --- shields that fail ---


class Playing:
    """Something that says it is a shield: answers warm requests, and does to others what `does` says."""

    def __init__(self, does: Callable[[Any], Any]) -> None:
        self.does = does

    def __call__(self, request: Any) -> Any:
        if request.target.startswith(WARM):
            return reply(200, {"Cache-Control": "no-store"}, b"warm")
        return self.does(request)


def failing(lane: bool, does: Callable[[Any], Any], shields: int, **pool: Any) -> tuple[Any, ...]:
    with ExitStack() as stack:
        origin = stack.enter_context(Origin(answering(lambda request: fresh(60, b"origin"))))
        players = [stack.enter_context(Origin(Playing(does))) for _ in range(shields)]
        tree = site(origin)
        tree["shields"] = {
            "servers": [player.url for player in players],
            "secret_env": "CDN_TEST_SHIELD",
            "timeouts": {"first_byte": "300ms", "between_bytes": "300ms"},
            **pool,
        }
        edge = stack.enter_context(Proxy(tree))
        settle(edge, lane)
        warm(edge)
        taken = edge.stats()["lanes"]["fill"]
        seen = []
        for target in ("/a", "/b"):
            with edge.client() as client:
                client.send(request_bytes("GET", target))
                answer = client.read_response(tolerate_abort=True)
                body = b"" if answer.status >= 500 else answer.body
                seen.append((answer.status, body, answer.aborted))
        outcomes = edge.stats()["outcomes"]
        pools = edge._worker.site.shields
        assert pools is not None
        stats = pools.stats()
        tries = sum(not r.target.startswith(WARM) for player in players for r in player.requests)
        counted = (stats["requests"], stats["direct"], stats["retries"], stats["retries_refused"])
        failed = sum(sum(one["failures"].values()) for one in stats["servers"].values())
        asked = [r.target for r in origin.requests if not r.target.startswith(WARM)]
        took = edge.stats()["lanes"]["fill"] - taken
        return seen, counted, tries, failed, asked, outcomes, bool(took)


def silent(request: Any) -> Any:
    request.conn.stall()


def cut(request: Any) -> Any:
    request.conn.send(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 10\r\n\r\nhalf")
    request.conn.close()


def nonsense(request: Any) -> Any:
    request.conn.send(b"nonsense\r\n\r\n")
    request.conn.close()


def gone(request: Any) -> Any:
    request.conn.reset()


@pytest.mark.parametrize("does", [silent, cut, nonsense, gone])
@pytest.mark.parametrize("shields", [1, 2])
def test_a_shield_that_fails(does: Callable[[Any], Any], shields: int) -> None:
    general, lane = (failing(lane, does, shields) for lane in (False, True))
    assert lane[:-1] == general[:-1]
    if does in (silent, gone):
        assert [body for _, body, _ in lane[0]] == [b"origin", b"origin"]


def test_no_more_tries_than_are_allowed() -> None:
    general, lane = (failing(lane, silent, 3, retry={"tries": 1}) for lane in (False, True))
    assert lane[:-1] == general[:-1]
    assert lane[2] == 2


def test_those_who_follow_read_what_the_shield_sends() -> None:
    go = Signal("the rest")
    body = bytes(range(256)) * 200

    def rule(request: Any) -> Any:
        request.conn.send(
            b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        request.conn.chunk(body[:20_000])
        go.wait()
        request.conn.chunk(body[20_000:])
        request.conn.end_chunks()
        return None

    with ExitStack() as stack:
        origin = stack.enter_context(Origin(answering(rule)))
        tiers = Tiers(stack, origin)
        edge, shield = tiers.edges[0], tiers.shields[0]
        warm(edge)
        clients = [stack.enter_context(edge.client()) for _ in range(4)]
        for client in clients:
            client.send(request_bytes("GET", "/a"))
        origin.wait_for(1, "/a")
        eventually(lambda: edge.stats()["exchanges"] == 4, "all to wait")
        assert (edge._worker.fill_lane.active, shield._worker.fill_lane.active) == (1, 1)
        go.set()
        for client in clients:
            assert client.read_response().body == body
        assert origin.count("/a") == 1
