"""QUERY: answered from the store like GET, with its content in the key (RFC 10008 §2.7)."""

from __future__ import annotations

import pytest

from tests.harness import Conn, Origin, RawClient, Reply, Request, Signal, fresh, reply, site
from tests.harness.client import chunked, request_bytes
from tests.harness.proxy import Proxy, is_hit, ours
from tests.harness.wire import Response

JSON = {"Content-Type": "application/json"}
HELD = 64 << 10


def echo(request: Request) -> Reply:
    """The content comes back, fresh for a minute."""
    if request.method not in ("QUERY", "GET"):
        return reply(204)
    if request["if-none-match"] == '"1"':
        return reply(304, {"ETag": '"1"', "Cache-Control": "max-age=60"})
    return fresh(60, request.body or b"none", etag='"1"')


def query(proxy: Proxy, body: bytes = b"q", target: str = "/q", **fields: str) -> Response:
    lines = {**JSON, **{name.replace("_", "-"): value for name, value in fields.items()}}
    return proxy.ask("QUERY", target, lines, body)


def test_the_same_query_is_answered_from_the_store() -> None:
    with Origin(echo) as origin, Proxy(site(origin)) as proxy:
        first = query(proxy, b'{"a": 1}')
        with proxy.lanes(hit=0, general=1):
            second = query(proxy, b'{"a": 1}')
        assert not is_hit(first)
        assert is_hit(second)
        assert first.body == second.body == b'{"a": 1}'
        assert origin.count() == 1
        seen = origin.last
        assert (seen.method, seen.body, seen["content-type"]) == ("QUERY", b'{"a": 1}', "application/json")
        assert (seen["content-length"], seen["transfer-encoding"]) == ("8", None)


@pytest.mark.parametrize(
    "other",
    [
        {"body": b"Q"},
        {"body": b""},
        {"body": b"q "},
        {"target": "/q?a"},
        {"target": "/Q"},
        {"Content_Type": "text/plain"},
        {"Content_Encoding": "gzip"},
        {"Content_Language": "de"},
        {"Content_Location": "/x"},
    ],
    ids=str,
)
def test_another_query_is_not(other: dict[str, object]) -> None:
    with Origin(echo) as origin, Proxy(site(origin)) as proxy:
        query(proxy)
        assert not is_hit(query(proxy, **other))  # type: ignore[arg-type]
        assert is_hit(query(proxy))
        assert is_hit(query(proxy, **other))  # type: ignore[arg-type]
        assert origin.count() == 2


def test_get_and_query_are_apart() -> None:
    with Origin(echo) as origin, Proxy(site(origin)) as proxy:
        assert proxy.get("/q").body == b"none"
        assert query(proxy).body == b"q"
        assert not is_hit(proxy.ask("QUERY", "/q"))
        assert proxy.get("/q").body == b"none"
        assert is_hit(proxy.ask("HEAD", "/q"))
        assert origin.count() == 3


def test_how_the_content_is_framed_makes_no_difference() -> None:
    with Origin(echo) as origin, Proxy(site(origin)) as proxy:
        query(proxy, b"abc")
        client = proxy.client()
        client.send(
            request_bytes("QUERY", "/q", {**JSON, "Transfer-Encoding": "chunked"}) + chunked(b"a", b"bc")
        )
        assert is_hit(client.read_response())
        assert is_hit(client.ask("QUERY", "/q", JSON, b"abc"))  # and the connection goes on
        assert origin.count() == 1


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize(("size", "stored"), [(HELD, True), (HELD + 1, False), (5 * HELD, False)])
def test_long_content_is_passed(framing: str, size: int, stored: bool) -> None:
    body = bytes(range(251)) * (size // 251 + 1)
    body = body[:size]
    with Origin(echo) as origin, Proxy(site(origin)) as proxy:
        for turn in range(2):
            client = proxy.client()
            if framing == "length":
                client.request("QUERY", "/q", JSON, body)
            else:
                pieces = [body[at : at + 10_000] for at in range(0, size, 10_000)]
                head = request_bytes("QUERY", "/q", {**JSON, "Transfer-Encoding": "chunked"})
                client.send(head + chunked(*pieces))
            answer = client.read_response()
            assert answer.body == body
            assert is_hit(answer) is (stored and turn == 1)
            if not stored:
                assert ours(answer)["detail"] == "too-large"
        assert origin.count() == (1 if stored else 2)


def test_it_is_validated_with_its_content() -> None:
    with Origin(echo) as origin, Proxy(site(origin)) as proxy:
        query(proxy)
        proxy.advance(61)
        answer = query(proxy)
        assert (answer.status, answer.body) == (200, b"q")
        assert ours(answer)["fwd-status"] == "304"
        assert (origin.last.body, origin.last["if-none-match"]) == (b"q", '"1"')
        assert is_hit(query(proxy))


def test_a_condition_is_answered_from_the_store() -> None:
    with Origin(echo) as origin, Proxy(site(origin)) as proxy:
        query(proxy)
        answer = query(proxy, If_None_Match='"1"')
        assert (answer.status, answer.body) == (304, b"")
        assert query(proxy, If_None_Match='"2"').status == 200
        assert origin.count() == 1


def test_a_condition_goes_on_where_nothing_is_stored() -> None:
    with Origin(echo) as origin, Proxy(site(origin)) as proxy:
        answer = query(proxy, If_None_Match='"2"')
        assert (answer.status, answer.body) == (200, b"q")
        assert origin.last["if-none-match"] == '"2"'
        assert is_hit(query(proxy))


def test_a_range_of_it_is_not_cut() -> None:
    with Origin(echo) as origin, Proxy(site(origin)) as proxy:
        query(proxy, b"0123456789")
        answer = query(proxy, b"0123456789", Range="bytes=2-3")
        assert (answer.status, answer.body) == (200, b"0123456789")


@pytest.mark.parametrize("control", ["no-store", "private", "max-age=0"])
def test_what_may_not_be_stored_is_not(control: str) -> None:
    with (
        Origin(lambda request: reply(200, {"Cache-Control": control}, request.body)) as origin,
        Proxy(site(origin)) as proxy,
    ):
        for _ in range(2):
            answer = query(proxy)
            assert (answer.body, is_hit(answer)) == (b"q", False)
        assert [request.body for request in origin.requests] == [b"q", b"q"]


def test_it_varies() -> None:
    with (
        Origin(
            lambda request: fresh(60, request.body + (request["x-size"] or "").encode(), vary="X-Size")
        ) as o,
        Proxy(site(o)) as proxy,
    ):
        for hit in (False, True):
            for size in ("s", "l"):
                answer = query(proxy, X_Size=size)
                assert (answer.body, is_hit(answer)) == (b"q" + size.encode(), hit)


def test_it_invalidates_nothing_and_is_invalidated_with_its_url() -> None:
    with Origin(echo) as origin, Proxy(site(origin)) as proxy:
        proxy.get("/q")
        query(proxy)
        assert is_hit(proxy.get("/q"))
        proxy.ask("POST", "/q")
        assert not is_hit(query(proxy))
        assert not is_hit(proxy.get("/q"))


def test_many_at_once_are_one_request() -> None:
    go = Signal("all wait")

    def rule(request: Request) -> Reply:
        request.conn.hold(go)
        return echo(request)

    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        clients: list[RawClient] = [proxy.client() for _ in range(5)]
        for client in clients:
            client.request("QUERY", "/q", JSON, b"same")
        proxy.settle()
        go.set()
        assert [client.read_response().body for client in clients] == [b"same"] * 5
        assert origin.count() == 1


def test_it_is_sent_again_where_a_kept_connection_was_dead() -> None:
    """RFC 10008 §2: safe and idempotent."""

    def dies(conn: Conn) -> None:
        conn.expect("QUERY", "/q", body=b"one")
        conn.respond(200, {"Cache-Control": "max-age=60"}, b"1")
        conn.expect("QUERY", "/q", body=b"two")
        conn.close()

    def lives(conn: Conn) -> None:
        conn.expect("QUERY", "/q", body=b"two")
        conn.respond(200, {"Cache-Control": "max-age=60"}, b"2")

    with Origin.scripted(dies, lives) as origin, Proxy(site(origin)) as proxy:
        assert query(proxy, b"one").body == b"1"
        assert query(proxy, b"two").body == b"2"


def test_stale_instead_of_an_error() -> None:
    def rule(request: Request) -> Reply:
        return fresh(10, b"old") if origin.count() == 1 else reply(503)

    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        query(proxy)
        proxy.advance(20)
        answer = query(proxy)
        assert (answer.status, answer.body) == (200, b"old")


def test_a_bypass_passes_it_with_its_content() -> None:
    with (
        Origin(echo) as origin,
        Proxy(site(origin, {"bypass": {"headers": ["x-pass"]}})) as proxy,
    ):
        for _ in range(2):
            answer = query(proxy, b"content", X_Pass="1")
            assert (answer.body, is_hit(answer)) == (b"content", False)


def test_expect_is_answered_before_the_content_is_read() -> None:
    with Origin(echo) as origin, Proxy(site(origin)) as proxy:
        client = proxy.client()
        client.send(
            b"QUERY /q HTTP/1.1\r\nHost: site.test\r\nExpect: 100-continue\r\n"
            b"Content-Type: application/json\r\nContent-Length: 3\r\n\r\n"
        )
        assert client.wire.line("interim") == b"HTTP/1.1 100 Continue"
        assert client.wire.line("end") == b""
        client.send(b"abc")
        assert client.read_response().body == b"abc"
        assert origin.last.body == b"abc"


def test_broken_content_is_400() -> None:
    with Origin(echo) as origin, Proxy(site(origin)) as proxy:
        client = proxy.client()
        client.send(request_bytes("QUERY", "/q", {"Transfer-Encoding": "chunked"}))
        proxy.settle()
        client.send(b"zz\r\n")
        assert client.read_response().status == 400
        assert origin.count() == 0
