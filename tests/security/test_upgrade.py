"""Upgrades: a tunnel opens only after the origin's 101, only for protocols that may be tunnelled, never for
h2c.

What a client sends behind its upgrade request belongs to nobody until the origin has agreed.
"""

from __future__ import annotations

import pytest

from tests.harness import Conn, Origin, Reply, Request, reply, site
from tests.harness.proxy import Proxy

ASK = (
    b"GET /ws HTTP/1.1\r\nHost: site.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\n\r\n"
)
HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: site.test\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n"


BEHIND = [b"\x81\x05hello", HIDDEN, b"POST /hidden HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello"]
UNASKED = [SWITCH % b"websocket", SWITCH % b"h2c", b"HTTP/1.1 101 Switching Protocols\r\n\r\n"]


@pytest.mark.parametrize("behind", BEHIND)
@pytest.mark.parametrize("status", [200, 403, 426])
def test_bytes_behind_a_refused_upgrade_are_not_forwarded(behind: bytes, status: int) -> None:
    with Origin(lambda request: reply(status, {"Cache-Control": "no-store"}, b"plain")) as origin:
        with Proxy(site(origin)) as proxy, proxy.client() as client:
            client.send(ASK + behind)
            assert client.read_response().status == status
            client.wire.until_closed()
            assert origin.count("/hidden") == 0
            assert behind not in origin.received()


def test_bytes_sent_after_the_refusal_are_an_ordinary_request() -> None:
    with Origin(reply(200, {"Cache-Control": "no-store"}, b"plain")) as origin, Proxy(site(origin)) as proxy:
        with proxy.client() as client:
            client.send(ASK)
            answer = client.read_response()
            assert answer.body == b"plain"
            if (answer["connection"] or "").lower() != "close":
                assert client.get("/next").body == b"plain"
        assert all(request.raw.count(b"HTTP/1.1") == 1 for request in origin.requests)


@pytest.mark.parametrize("protocol", ["h2c", "H2C", "h2c, websocket", "websocket, h2c", "h2"])
def test_h2c_is_never_offered_to_an_origin(protocol: str) -> None:
    """An origin that would switch gives the client a way around every rule of ours."""
    with Origin(reply(200, {"Cache-Control": "no-store"}, b"plain")) as origin, Proxy(site(origin)) as proxy:
        settings = {"HTTP2-Settings": "AAMAAABkAARAAAAAAAIAAAAA"}
        proxy.get("/a", {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": protocol, **settings})
        for request in origin.requests:
            assert "h2" not in (request["upgrade"] or "").lower()
            assert "http2-settings" not in request
            assert "http2-settings" not in (request["connection"] or "").lower()


@pytest.mark.parametrize("answer", UNASKED)
def test_an_unasked_101_is_502(answer: bytes) -> None:
    with Origin(lambda request: request.conn.send(answer)) as origin, Proxy(site(origin)) as proxy:
        with proxy.client() as client:
            assert client.get("/a").status == 502
        assert origin.count() >= 1


def test_a_101_to_another_protocol_than_asked_is_502() -> None:
    with Origin(lambda request: request.conn.send(SWITCH % b"h2c")) as origin, Proxy(site(origin)) as proxy:
        with proxy.client() as client:
            client.send(ASK)
            assert client.read_response().status == 502
        assert origin.count() == 1


def test_a_tunnels_bytes_are_nobodys_requests() -> None:
    """Requests inside a tunnel reach the origin raw and are never answered by us, not even from the store."""

    def script(conn: Conn) -> None:
        conn.expect("GET", "/ws")
        conn.send(SWITCH % b"websocket")
        assert conn.wire.exactly(len(HIDDEN) * 2) == HIDDEN * 2
        conn.send(b"seen")
        conn.close()

    with Origin.scripted(script) as origin, Proxy(site(origin)) as proxy, proxy.client() as client:
        client.send(ASK)
        assert client.wire.response_head().status == 101
        client.send(HIDDEN * 2)
        assert client.wire.until_closed() == b"seen"
        assert len(origin.requests) == 1


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_an_upgrade_with_a_body_is_not_a_way_around_framing(method: str) -> None:
    def rule(request: Request) -> Reply:
        return reply(200, {"Cache-Control": "no-store"}, request.body)

    data = (
        method.encode() + b" /up HTTP/1.1\r\nHost: site.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    )
    with Origin(rule) as origin, Proxy(site(origin)) as proxy, proxy.client() as client:
        client.send(data + b"Content-Length: %d\r\n\r\n" % len(HIDDEN) + HIDDEN)
        answer = client.read_response()
        assert answer.body == HIDDEN or answer.status in (400, 501)
        assert origin.count("/hidden") == 0


def test_http_1_0_cannot_upgrade() -> None:
    with Origin(reply(200, {"Cache-Control": "no-store"}, b"plain")) as origin, Proxy(site(origin)) as proxy:
        with proxy.client() as client:
            client.send(ASK.replace(b"HTTP/1.1", b"HTTP/1.0"))
            assert client.read_response().body == b"plain"
        assert "upgrade" not in origin.last
