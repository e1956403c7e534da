"""What an origin sends beyond its answer is dropped, and that connection is never used again."""

from __future__ import annotations

import pytest

from tests.harness import Conn, Origin, Reply, Request, Signal, eventually, expect, fresh, reply, site, stall
from tests.harness.origin import Script
from tests.harness.proxy import Proxy
from tests.harness.tls import tls_of

POISON = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: 6\r\n\r\nPOISON"
PASS = b"HTTP/1.1 200 OK\r\nCache-Control: no-store\r\n"

LEFTOVERS = {
    "more than its length": PASS + b"Content-Length: 4\r\n\r\nbodySURPLUS",
    "a second response": PASS + b"Content-Length: 4\r\n\r\nbody" + POISON,
    "behind its chunks": PASS + b"Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n" + POISON,
    "a body behind a 204": b"HTTP/1.1 204 No Content\r\n\r\n" + POISON,
    "a body behind a 304": b"HTTP/1.1 304 Not Modified\r\n\r\n" + POISON,
    "two line ends": PASS + b"Content-Length: 4\r\n\r\nbody\r\n\r\n",
}


def sent(answer: bytes) -> Script:
    def script(conn: Conn) -> None:
        conn.expect("GET", "/first")
        conn.send(answer)
        conn.stall()  # kept open: only the proxy can end it

    return script


@pytest.mark.parametrize("answer", LEFTOVERS.values(), ids=LEFTOVERS)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_next_request_has_its_own_connection_and_answer(scheme: str, answer: bytes) -> None:
    second: Script = [expect("GET", "/second"), lambda conn: conn.respond(200, None, b"second"), stall()]
    with Origin.scripted(sent(answer), second, tls=tls_of(scheme)) as origin, Proxy(site(origin)) as proxy:
        with proxy.client() as client:
            first = client.get("/first", {"If-None-Match": '"1"'})
            assert first.status in (200, 204, 304)
            assert first.body in (b"body", b"")
            proxy.settle()
            assert client.get("/second").body == b"second"
        assert origin.connections == 2


def test_a_body_behind_a_head_answer() -> None:
    def rule(request: Request) -> Reply | None:
        if request.method == "HEAD":
            request.conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(POISON) + POISON)
            return None
        return reply(200, {"Cache-Control": "no-store"}, b"right")

    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        assert proxy.ask("HEAD", "/first").status == 200
        proxy.settle()
        assert proxy.get("/second").body == b"right"
        assert origin.connections == 2


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_what_comes_while_a_connection_idles_is_not_an_answer(scheme: str) -> None:
    answered, sent_late = Signal("the answer is with the client"), Signal("the late bytes are sent")

    def rule(request: Request) -> Reply | None:
        if request.target != "/first":
            return reply(200, {"Cache-Control": "no-store"}, b"right")
        request.conn.respond(200, {"Cache-Control": "no-store"}, b"first")
        answered.wait()
        request.conn.send(POISON)
        sent_late.set()
        return None

    with Origin(rule, tls=tls_of(scheme)) as origin, Proxy(site(origin)) as proxy:
        assert proxy.get("/first").body == b"first"
        answered.set()
        sent_late.wait()
        proxy.settle()
        assert proxy.get("/second").body == b"right"
        assert origin.connections == 2


def test_surplus_is_never_stored() -> None:
    answer = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 4\r\n\r\nbodySURPLUS" + POISON
    with Origin(lambda request: request.conn.send(answer)) as origin, Proxy(site(origin)) as proxy:
        for _ in range(3):
            assert proxy.get("/a").body == b"body"
        assert origin.count() >= 1


def test_a_long_tail_is_not_read_for_ever() -> None:
    """The surplus costs the origin its connection, not us our memory."""

    def rule(request: Request) -> Reply | None:
        if request.target == "/b":
            return fresh(60, b"right")
        # the first of the surplus comes with the body: later bytes could not be told from the next answer
        head = b"HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: 4\r\n\r\n"
        request.conn.send(head + b"body" + bytes(1 << 18))
        for _ in range(1000):
            request.conn.send(bytes(1 << 18))  # PeerGone ends it
        raise AssertionError("256 MB of surplus were read")

    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        assert proxy.get("/a").body == b"body"
        assert proxy.get("/b").body == b"right"
        eventually(lambda: origin.aborted == 1, "the end of the surplus")
