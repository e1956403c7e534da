"""Responses that vary, and requests that a route's rules pass: what the fill lane takes of them, what others see."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdn.proxy.variant_cap import VARIANTS
from tests.harness import Origin, Reply, Signal, eventually, fresh, reply, request_bytes, site
from tests.harness.proxy import Proxy
from tests.proxy.held import Held, leading, outlived
from tests.proxy.lanes import WARM, Ask, both

BROWSER = {"Accept-Encoding": "gzip, deflate, br, zstd", "Accept-Language": "de,en;q=0.7", "User-Agent": "x"}
VARY: dict[str, list[tuple[str, str]]] = {
    "encoding": [("Vary", "Accept-Encoding")],
    "encoding, another case": [("vary", "ACCEPT-encoding")],
    "several": [("Vary", "Accept-Encoding, Accept-Language,User-Agent")],
    "in two lines": [("Vary", "Accept-Encoding"), ("Vary", "X-Other")],
    "a field that nobody sends": [("Vary", "X-Nobody")],
    "the same twice": [("Vary", "Accept-Encoding, accept-encoding")],
    "nothing": [("Vary", "")],
    "with a tag": [("Vary", "Accept-Encoding"), ("ETag", '"e"')],
    "with a cookie": [("Vary", "Accept-Encoding"), ("Set-Cookie", "a=b")],
    "many": [("Vary", ", ".join(f"X-{n}" for n in range(16)))],
}


def varying(fields: list[tuple[str, str]], body: bytes = b"x", framing: str = "length") -> Reply:
    return reply(200, [("Cache-Control", "max-age=60"), *fields], body, framing=framing)


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("name", VARY)
def test_the_first_one_of_a_url(name: str, framing: str) -> None:
    answer = varying(VARY[name], b"0123456789" * 300, framing)
    asks = [Ask(path, fields=fields) for path in ("/a", "/b", "/c") for fields in (BROWSER, BROWSER)]
    seen = both(lambda request: answer, asks, fill=3)
    assert seen.stats["lanes"]["hit"] == 3


@pytest.mark.parametrize("length", [0, 1, 100_000, 1_100_000])
def test_of_any_length(length: int) -> None:
    answer = varying(VARY["encoding"], b"x" * length, "chunked")
    asks = [Ask("/a", fields=BROWSER), Ask("/b"), Ask("/a", fields=BROWSER)]
    both(lambda request: answer, asks, fill=2 if length < 1 << 20 else 0)


def test_what_the_lane_leaves_to_others() -> None:
    answers = {
        "/star": varying([("Vary", "*")]),
        "/more": varying([("Vary", ", ".join(f"X-{n}" for n in range(17)))]),
        "/long": varying([("Vary", "X-" + "a" * 80)]),
        "/tagged": varying([("Vary", "Accept-Encoding"), ("Cache-Tag", "a")]),
    }
    asks = [Ask(path, fields=BROWSER) for path in answers] * 2
    both(
        lambda request: answers[request.target], asks, fill=3
    )  # what is not stored at all, and what is tagged


def test_other_variants_of_a_url() -> None:
    values = ["gzip", "br", "br, gzip", "gzip,br", "", "identity;q=0", None]

    def rule(request: Any) -> Reply:
        return varying(VARY["encoding"], (request["accept-encoding"] or "-").encode())

    asks = [Ask("/a", fields={} if value is None else {"Accept-Encoding": value}) for value in values] * 2
    both(rule, asks, fill=6)


def test_lines_of_the_same_field() -> None:
    lines = [("Accept-Encoding", "gzip"), ("X", "y"), ("accept-encoding", "br")]
    answer = varying(VARY["encoding"])
    both(
        lambda request: answer,
        [Ask("/a", fields=lines), Ask("/a", fields={"Accept-Encoding": "gzip, br"})],
        fill=1,
    )


def test_so_many_variants_of_a_url_stay() -> None:
    with Origin(varying([("Vary", "X-A")])) as origin, Proxy(site(origin)) as proxy, proxy.client() as client:
        client.ask("POST", WARM)
        for n in range(VARIANTS + 10):
            client.ask("GET", "/a", {"X-A": str(n)})
        assert proxy._worker.memory.stats()["objects"] == VARIANTS + 1  # and the marker
        assert proxy.stats()["lanes"]["fill"] == VARIANTS + 10


NAMES = st.lists(
    st.sampled_from(["Accept-Encoding", "accept-language", "X-A", "User-Agent", "Cookie", "x-b"]), max_size=3
)
VALUES = st.sampled_from(["gzip", "gzip, br", "br,gzip", "a ,b", "a, b", "", "en;q=0.5, de", "a; b=c"])


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(NAMES, min_size=1, max_size=3),
    st.lists(
        st.lists(st.tuples(NAMES.map(lambda n: (n or ["X-C"])[0]), VALUES), max_size=4),
        min_size=1,
        max_size=3,
    ),
    st.integers(0, 30_000),
)
def test_any_fields(vary: list[list[str]], requests: list[list[tuple[str, str]]], step: int) -> None:
    asks = [
        Ask(f"/{n % len(vary)}", fields=requests[n % len(requests)])
        for n in range(2 * len(vary) * len(requests))
    ]

    def rule(request: Any) -> Reply:
        names = vary[int(request.target[1:])]
        return varying([("Vary", name) for name in names], b"%d" % len(request.fields))

    both(rule, asks, step=step)


# --- who else asks ---

GZIP = request_bytes("GET", "/a", {"Accept-Encoding": "gzip"})
BR = request_bytes("GET", "/a", {"Accept-Encoding": "br"})


def head(length: int) -> bytes:
    return (
        b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nVary: Accept-Encoding\r\nContent-Length: %d\r\n\r\n"
        % length
    )


@pytest.mark.parametrize("when", ["before the head", "in the body"])
def test_those_who_match_read_along(when: str) -> None:
    body = bytes(range(256)) * 200
    held = Held(head(len(body)), body, 30_000)
    with Origin(held) as origin, Proxy(site(origin)) as proxy:
        proxy.ask("POST", WARM)
        with proxy.client() as leader, proxy.client() as same, proxy.client() as other:
            leader.send(GZIP)
            origin.wait_for(1, "/a")
            if when == "in the body":
                held.before.set()
                eventually(lambda: len(proxy._worker.site.flights) == 2, "the variant's flight")
            same.send(GZIP)
            other.send(BR)
            if when == "in the body":
                origin.wait_for(2, "/a")
            eventually(lambda: proxy.stats()["exchanges"] == 3, "all to wait")
            held.go()
            for client in (leader, same, other):
                assert client.read_response().body == body
            assert origin.count("/a") == 2
            for sent in (GZIP, BR):
                with proxy.lanes(hit=1):
                    leader.send(sent)
                    assert leader.read_response().body == body
        assert proxy._worker.fill_lane.active == 0
        assert proxy._worker.site.flights == {}
        counted = proxy._worker.memory.audit()
        assert counted["filling_runs"] == counted["filling_blocks"] == 0


@pytest.mark.parametrize("first", [0, 30_000])
def test_it_outlives_its_client(first: int) -> None:
    body = bytes(range(256)) * 200
    held = Held(head(len(body)), body, first)
    with leading(held) as (origin, proxy, leader):
        if first:
            held.before.set()
            eventually(lambda: len(proxy._worker.site.flights) == 2, "the variant's flight")
        outlived(held, origin, proxy, leader, body, objects=2)


def test_a_purge_on_its_way() -> None:
    body = bytes(range(256)) * 200
    held = Held(head(len(body)), body, 30_000)
    with leading(held) as (origin, proxy, leader):
        held.before.set()
        eventually(lambda: len(proxy._worker.site.flights) == 2, "the variant's flight")
        proxy._worker.memory.purge_all()
        held.between.set()
        assert leader.read_response().body == body
        assert leader.get("/a").body == body
        assert origin.count("/a") == 2


def test_a_cut_variant_is_not_stored() -> None:
    def rule(request: Any) -> Any:
        if request.target == WARM:
            return reply(200, {"Cache-Control": "no-store"})
        request.conn.send(head(1000) + b"x" * 500)
        request.conn.close()
        return None

    with Origin(rule) as origin, Proxy(site(origin)) as proxy, proxy.client() as client:
        proxy.ask("POST", WARM)
        client.send(GZIP)
        assert client.read_response(tolerate_abort=True).aborted
        assert proxy._worker.memory.stats()["objects"] == 1  # the marker
        assert proxy._worker.site.flights == {}


# --- by rule ---

RULES: dict[str, tuple[dict[str, Any], list[Ask], int]] = {
    "cookie": (
        {"cookies": ["session*", "id"]},
        [
            Ask("/a", fields={"Cookie": "session=1"}),
            Ask("/a", fields={"Cookie": "x=1; id=2"}),
            Ask("/a", fields={"Cookie": "x=1"}),  # it may be stored
            Ask("/a", fields=[("Cookie", "x=1"), ("Cookie", "sessionid=2")]),
            Ask("/b", "HEAD", {"Cookie": "session=1"}),
            Ask("/a"),
        ],
        6,
    ),
    "header": (
        {"headers": ["x-preview", "x-a*"]},
        [
            Ask("/a", fields={"X-Preview": ""}),
            Ask("/a", fields={"x-abc": "1"}),
            Ask("/a", fields={"X-Other": "1"}),
            Ask("/a?q=1", fields={"X-Preview": "1"}),
        ],
        4,
    ),
    "query": (
        {"query": ["preview", "t*"]},
        [Ask("/a?preview"), Ask("/a?x=1&t1=2"), Ask("/a?x=1"), Ask("/a?"), Ask("/a")],
        5,
    ),
}


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("name", RULES)
def test_rules(name: str, framing: str) -> None:
    bypass, asks, taken = RULES[name]
    answers = {
        "/a": reply(
            200, {"Cache-Control": "max-age=60", "Vary": "Cookie", "X-A": "b"}, b"hello", framing=framing
        ),
        "/b": reply(404, {"Set-Cookie": "a=b"}, b"gone"),
    }

    def tree(origin: Origin) -> dict[str, Any]:
        return site(origin, {"bypass": bypass}, route={"headers": {"response": {"set": {"X-Ours": "1"}}}})

    seen = both(lambda request: answers[request.target.partition("?")[0]], asks, tree, fill=taken)
    assert seen.stats["no_store"].get("bypass", 0) > 0


def test_a_bypass_is_not_stored_and_leaves_what_is() -> None:
    with Origin(fresh(60, b"x")) as origin, Proxy(site(origin, {"bypass": {"cookies": ["s"]}})) as proxy:
        proxy.ask("POST", WARM)
        with proxy.client() as client:
            with proxy.lanes(fill=1, general=0):
                client.ask("GET", "/a", {"Cookie": "s=1"})
            assert proxy._worker.memory.stats()["objects"] == 0
            with proxy.lanes(fill=1, general=0):
                client.get("/a")
            with proxy.lanes(hit=1):
                client.get("/a")
            with proxy.lanes(fill=1, general=0, hit=0):
                client.ask("GET", "/a", {"Cookie": "s=1"})
        assert origin.count("/a") == 3


def test_a_bypass_ends_with_its_client() -> None:
    go = Signal("the rest")

    def rule(request: Any) -> Any:
        if request.target != "/a":
            return reply(200, {"Cache-Control": "no-store"})
        request.conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx")
        go.wait()
        return None

    with Origin(rule) as origin, Proxy(site(origin, {"bypass": {"cookies": ["s"]}})) as proxy:
        proxy.ask("POST", WARM)
        with proxy.client() as client:
            client.send(request_bytes("GET", "/a", {"Cookie": "s=1"}))
            origin.wait_for(1, "/a")
            client.reset()
        eventually(lambda: proxy._worker.fill_lane.active == 0, "the passage to be gone")
        go.set()
