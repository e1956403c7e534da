"""Further variants of a URL that is known to vary: what the fill lane takes of them, and what it asks their origin."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.harness import Origin, Reply, Signal, eventually, reply, request_bytes, site
from tests.harness.proxy import Proxy
from tests.harness.siblings import Siblings
from tests.proxy.lanes import WARM, Ask, both
from tests.proxy.test_fill_lane_shared import Held
from tests.proxy.test_fill_lane_variants import BR, GZIP, head, varying


def ae(value: str | None, path: str = "/a", method: str = "GET") -> Ask:
    return Ask(path, method, {} if value is None else {"Accept-Encoding": value})


VALUES = ["gzip", "br", "gzip", "zstd", None, "br"]


def tagged(request: Any, **more: str) -> Reply:
    """A variant has a tag of its own; its origin knows it again."""
    value = request["accept-encoding"] or "none"
    tag = f'"{value}"'
    fields = {"Cache-Control": "max-age=60", "Vary": "Accept-Encoding", "ETag": tag, **more}
    if tag in (request["if-none-match"] or ""):
        return reply(304, fields)
    return reply(200, fields, value.encode() * 9)


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_without_tags(framing: str) -> None:
    def rule(request: Any) -> Reply:
        return varying([("Vary", "Accept-Encoding")], (request["accept-encoding"] or "-").encode(), framing)

    seen = both(rule, [ae(value) for value in VALUES] * 2, fill=4)
    assert seen.stats["lanes"]["hit"] == 8
    assert "fwd=vary-miss; ttl=60; stored" in dict(seen.answers[1][2])["Cache-Status"]


def test_those_that_are_stored_are_asked_about() -> None:
    seen = both(tagged, [ae(value) for value in VALUES], fill=4)
    asked = [[value for name, value in fields if name == "If-None-Match"] for _, _, fields in seen.asked]
    assert asked == [[], ['"gzip"'], ['"br", "gzip"'], ['"zstd", "br", "gzip"']]  # the newest first


def test_the_origin_chooses_a_stored_one() -> None:
    def rule(request: Any) -> Reply:
        fields = {"Cache-Control": "max-age=60", "Vary": "Accept-Encoding", "ETag": '"one"'}
        return reply(304, fields) if request["if-none-match"] else reply(200, fields, b"for all")

    seen = both(rule, [ae(value) for value in VALUES], fill=1)
    assert {answer[3] for answer in seen.answers} == {b"for all"}


def test_what_does_not_fit_is_not_asked_about() -> None:
    def rule(request: Any) -> Reply:
        coding = (request["accept-encoding"] or "").split(",")[0]
        return tagged(request, **({"Content-Encoding": coding} if coding else {}))

    both(rule, [ae(value) for value in ("gzip", "br", "gzip, br", None, "br;q=0, *")], fill=5)


def test_edits_reach_the_question() -> None:
    def tree(origin: Origin) -> dict[str, Any]:
        return site(
            origin, route={"headers": {"request": {"remove": ["If-None-Match"], "set": {"X-A": "1"}}}}
        )

    seen = both(tagged, [ae(value) for value in VALUES], tree, fill=4)
    assert not any(name == "If-None-Match" for _, _, fields in seen.asked for name, _ in fields)


def test_one_that_may_not_be_stored() -> None:
    def rule(request: Any) -> Reply:
        if request["accept-encoding"] == "br":
            return reply(200, {"Cache-Control": "no-store", "Vary": "Accept-Encoding"}, b"br")
        return tagged(request)

    # after that nobody waits for the URL: what comes next is the general lane's, until something is stored again
    both(rule, [ae(value) for value in ("gzip", "br", "zstd", "br", "zstd", "gzip", None)], fill=3)


@pytest.mark.parametrize("then", ["stored", "by another field", "by none", "never"])
def test_variants_that_could_not_be_stored(then: str) -> None:
    """Nobody waits for the next one; the lane asks for it all the same, with the client's own fields."""
    fields = {
        "stored": {"Cache-Control": "max-age=60", "Vary": "Accept-Encoding"},
        "by another field": {"Cache-Control": "max-age=60", "Vary": "Accept-Language"},
        "by none": {"Cache-Control": "max-age=60"},
        "never": {"Cache-Control": "no-store", "Vary": "Accept-Encoding"},
    }

    def rule(request: Any) -> Reply:
        if request["accept-encoding"] == "gzip":
            return tagged(request)
        private = request["x-n"] in ("0", "1", "2")
        return reply(200, fields["never" if private else then], (request["x-n"] or "").encode())

    def tree(origin: Origin) -> dict[str, Any]:
        return site(origin, route={"cache": {"key": {"query": {"ignore": ["u*"]}}}})

    asks = [
        Ask("/a?u=1", method, {"Accept-Encoding": "br", "X-N": str(n)})
        for n in range(5)
        for method in ("GET", "HEAD")
    ]
    # what turns out storable is the general lane's: the lane hands it over
    seen = both(rule, [ae("gzip"), *asks], tree, fill=11 if then == "never" else None)
    assert seen.stats["lanes"]["fill"] >= 7
    questions = [any(name == "If-None-Match" for name, _ in fields) for _, _, fields in seen.asked]
    assert questions[:4] == [False, True, False, False]


VARY = {
    "encoding": "Accept-Encoding",
    "both": "Accept-Encoding, Accept-Language",
    "language": "Accept-Language",
}


@pytest.mark.parametrize("then", [*VARY, "nothing", "everything"])
@pytest.mark.parametrize("first", VARY)
def test_by_other_fields_than_before(first: str, then: str) -> None:
    spec = {**VARY, "nothing": "", "everything": "*"}

    def rule(request: Any) -> Reply:
        vary = spec[first if request["x-n"] == "0" else then]
        return varying([("Vary", vary)], (request["x-n"] or "").encode())

    asks = [
        Ask("/a", fields={"X-N": str(n), "Accept-Encoding": value, "Accept-Language": value})
        for n, value in enumerate(("a", "b", "c", "a", "b", "c", "d"))
    ]
    both(rule, asks)


@pytest.mark.parametrize("length", [0, 100_000, 1_100_000])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_of_any_length(length: int, framing: str) -> None:
    answer = varying([("Vary", "Accept-Encoding")], b"x" * length, framing)
    both(
        lambda request: answer,
        [ae(value) for value in ("gzip", "br", "gzip", "br")],
        fill=2 if length < 1 << 20 else 0,
    )


def test_stale_and_purged_ones_are_for_the_general_lane() -> None:
    both(tagged, [ae(value) for value in ("gzip", "br", "gzip", "br", "zstd")] * 2, fill=3, step=25_000)


HEADS: dict[str, Reply] = {
    "plain": reply(200, {"Cache-Control": "max-age=60", "X-A": "b"}, b"hello"),
    "chunks": reply(200, {"Cache-Control": "max-age=60"}, b"hello", framing="chunked"),
    "no store": reply(200, {"Cache-Control": "no-store", "Set-Cookie": "a=b"}, b"hello"),
    "not found": reply(404, {"Cache-Control": "max-age=60"}, b"gone"),
    "no content": reply(204, {"X-A": "b"}),
    "not modified": reply(304, {"ETag": '"x"'}),
    "part": reply(206, {"Content-Range": "bytes 0-4/9"}, b"hello"),
    "too large": reply(416, {"Content-Range": "bytes */9"}, b""),
    "error": reply(503, {"Retry-After": "1"}, b"no"),
    "redirect": reply(301, {"Location": "/x"}, b""),
    "varies": varying([("Vary", "Accept-Encoding")], b"hello"),
    "tagged": reply(200, {"Cache-Tag": "a"}, b"hello"),
    "listed": reply(200, {"Connection": "x-a", "X-A": "1"}, b"hello"),
    "many lines": reply(200, [(f"X-{n}", "1") for n in range(70)], b"hello"),
}


@pytest.mark.parametrize("name", HEADS)
def test_heads_of_what_is_not_stored(name: str) -> None:
    asks = [ae("gzip", method="HEAD"), ae("gzip", "/b?x=1", "HEAD"), ae("br", method="HEAD")]
    both(lambda request: HEADS[name], asks, fill=0 if name in ("listed", "many lines") else 3)


def test_heads_of_further_variants() -> None:
    asks = [ae("gzip"), ae("br", method="HEAD"), ae("br"), ae("br", method="HEAD"), ae("gzip", method="HEAD")]
    seen = both(lambda request: varying([("Vary", "Accept-Encoding")], b"hello"), asks, fill=3)
    assert "fwd=vary-miss; fwd-status=200; detail=method" in dict(seen.answers[1][2])["Cache-Status"]


def test_a_head_is_not_waited_for() -> None:
    body = b"x" * 50_000
    held = Held(head(len(body)), body, 0)
    with Origin(lambda request: varying([], b"y") if request.method == "HEAD" else held(request)) as origin:
        with Proxy(site(origin)) as proxy:
            for _ in range(2):
                proxy.ask("POST", WARM)
            with proxy.client() as one, proxy.client() as other:
                one.send(GZIP)
                origin.wait_for(1, "/a")
                assert other.ask("HEAD", "/a").status == 200
                held.go()
                assert one.read_response().body == body


KINDS = st.sampled_from(["tagged", "untagged", "no-store", "language", "nothing", "404", "long"])
CLIENTS = st.sampled_from(["gzip", "br", "gzip, br", "br,gzip", "", "identity", None, "GZIP;q=0.5"])


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(KINDS, min_size=2, max_size=6),
    st.lists(st.tuples(CLIENTS, st.sampled_from(["GET", "GET", "HEAD"])), min_size=4, max_size=12),
    st.sampled_from([0, 0, 20_000]),
)
def test_any_order_of_any_answers(kinds: list[str], clients: list[tuple[str | None, str]], step: int) -> None:
    def rule(request: Any) -> Reply:
        kind = kinds[len(request["accept-encoding"] or "") % len(kinds)]
        fields = {"Cache-Control": "max-age=60", "Vary": "Accept-Encoding"}
        if kind == "tagged":
            return tagged(request)
        if kind == "no-store":
            fields["Cache-Control"] = "no-store"
        elif kind == "language":
            fields["Vary"] = "Accept-Language"
        elif kind == "nothing":
            del fields["Vary"]
        body = b"x" * (1_100_000 if kind == "long" else 20)
        return reply(404 if kind == "404" else 200, fields, body)

    both(rule, [ae(value, method=method) for value, method in clients], step=step)


# --- who else asks ---


@pytest.mark.parametrize("when", ["before the head", "in the body"])
def test_those_who_match_read_along(when: str) -> None:
    body = bytes(range(256)) * 200
    held = Held(head(len(body)), body, 30_000)
    first = [True]

    def rule(request: Any) -> Any:
        if request.target == "/a" and first:
            first.clear()
            return varying([("Vary", "Accept-Encoding")], b"first")
        return held(request)

    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        proxy.ask("POST", WARM)
        zstd = request_bytes("GET", "/a", {"Accept-Encoding": "zstd"})
        with proxy.client() as leader, proxy.client() as same, proxy.client() as other:
            with proxy.lanes(fill=2, general=2):  # for the other variant no connection is kept
                leader.send(zstd)
                assert leader.read_response().body == b"first"
                leader.send(GZIP)
                origin.wait_for(2, "/a")
                if when == "in the body":
                    held.before.set()
                same.send(GZIP)
                other.send(BR)  # another variant: not kept waiting
                origin.wait_for(3, "/a")
                held.go()
                for client in (leader, same, other):
                    assert client.read_response().body == body
            assert origin.count("/a") == 3
            with proxy.lanes(hit=3):
                for sent in (GZIP, BR, zstd):
                    leader.send(sent)
                    leader.read_response()
        eventually(lambda: proxy._worker.fill_lane.active == 0, "the lane to be idle")
        assert proxy._worker.site.flights == {}
        counted = proxy._worker.memory.audit()
        assert counted["filling_runs"] == counted["filling_blocks"] == 0


def test_a_dead_connection_is_the_general_lanes() -> None:
    def rule(request: Any) -> Any:
        if request["accept-encoding"] == "br" and request.conn.number == 0:
            request.conn.close()
            return None
        return tagged(request)

    with Origin(rule) as origin, Proxy(site(origin)) as proxy, proxy.client() as client:
        client.ask("POST", WARM)
        assert client.ask("GET", "/a", {"Accept-Encoding": "gzip"}).body == b"gzip" * 9
        assert client.ask("GET", "/a", {"Accept-Encoding": "br"}).body == b"br" * 9
        assert origin.requests[-1]["if-none-match"] == '"gzip"'
        with proxy.lanes(hit=2):
            for value in ("gzip", "br"):
                assert client.ask("GET", "/a", {"Accept-Encoding": value}).body == value.encode() * 9
        assert proxy._worker.site.flights == {}


def test_what_one_worker_knows_to_vary_the_others_know() -> None:
    go = Signal("the head")

    def rule(request: Any) -> Reply:
        if request["accept-encoding"] == "zstd":
            go.wait()
        return tagged(request)

    with Origin(rule) as origin, Siblings(site(origin)) as node:
        one, other = (node.client(number) for number in (0, 1))
        for client in (one, other):
            client.ask("POST", WARM)
        for client, value in ((one, "gzip"), (other, "br"), (one, "br"), (other, "gzip")):
            assert client.ask("GET", "/a", {"Accept-Encoding": value}).body == value.encode() * 9
            # the answer may be there before it is published
            eventually(lambda: node.memory.stats()["objects"] == 1 + origin.count("/a"), "it to be stored")
        assert [worker.stats()["lanes"]["fill"] for worker in node.workers] == [1, 1]
        assert origin.count("/a") == 2
        assert origin.last["if-none-match"] == '"gzip"'
        for client in (one, other):
            client.request("GET", "/a", {"Accept-Encoding": "zstd"})
        origin.wait_for(3, "/a")
        eventually(lambda: sum(worker.stats()["exchanges"] for worker in node.workers) == 2, "both to wait")
        go.set()
        for client in (one, other):
            assert client.read_response().body == b"zstd" * 9
        assert origin.count("/a") == 3
