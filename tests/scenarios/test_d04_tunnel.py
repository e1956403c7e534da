"""Upgrades: raw bytes both ways, but only after the origin's 101."""

from __future__ import annotations

import os

import pytest

from tests.harness import Conn, Crew, Origin, RawClient, Reply, Request, Signal, fresh, reply, site
from tests.harness.proxy import Proxy

UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}
ACCEPTED = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Accept: x\r\n\r\n"
)


def echo(conn: Conn) -> None:
    request = conn.expect("GET", "/ws", {"Upgrade": "websocket", "Sec-WebSocket-Version": "13"})
    assert "upgrade" in (request["connection"] or "").lower()
    conn.send(ACCEPTED)
    while data := conn.wire.some():
        conn.send(data)


def open_tunnel(client: RawClient, protocol: str = "websocket") -> None:
    client.request("GET", "/ws", {**UPGRADE, "Upgrade": protocol})
    answer = client.wire.response_head()
    assert (answer.status, answer["upgrade"]) == (101, protocol)
    assert "upgrade" in (answer["connection"] or "").lower()


def test_raw_bytes_both_ways() -> None:
    blob = bytes(range(256)) + b"\r\n\r\nGET / HTTP/1.1\r\n\r\n" + os.urandom(1000)
    with Origin.scripted(echo) as origin, Proxy(site(origin)) as proxy, proxy.lanes(tunnel=1):
        with proxy.client() as client:
            open_tunnel(client)
            for piece in (b"\x81\x05hello", blob, b"\x00"):
                client.send(piece)
                assert client.wire.exactly(len(piece)) == piece


def test_bytes_right_behind_the_101_are_not_lost() -> None:
    def script(conn: Conn) -> None:
        conn.expect("GET", "/ws")
        conn.send(ACCEPTED + b"\x81\x02hi")
        assert conn.wire.exactly(3) == b"bye"
        conn.close()

    with Origin.scripted(script) as origin, Proxy(site(origin)) as proxy, proxy.client() as client:
        open_tunnel(client)
        assert client.wire.exactly(4) == b"\x81\x02hi"
        client.send(b"bye")
        client.expect_closed()


def test_much_data_in_both_directions_at_once() -> None:
    data = os.urandom(4 << 20)
    with Origin.scripted(echo) as origin, Proxy(site(origin)) as proxy, Crew(20) as crew:
        client = proxy.client(timeout=20)
        open_tunnel(client)
        crew.start(client.send, data)
        assert client.wire.exactly(len(data)) == data


def test_the_end_of_one_side_is_the_end_of_the_other() -> None:
    ended = Signal("the origin saw the end")

    def script(conn: Conn) -> None:
        conn.expect("GET", "/ws")
        conn.send(ACCEPTED)
        assert conn.wire.until_closed() == b"last"
        ended.set()

    with Origin.scripted(script) as origin, Proxy(site(origin)) as proxy:
        client = proxy.client()
        open_tunnel(client)
        client.send(b"last")
        client.close()
        ended.wait()


def test_a_refused_upgrade_is_an_ordinary_answer() -> None:
    with Origin(reply(403, body=b"no")) as origin, Proxy(site(origin)) as proxy, proxy.client() as client:
        answer = client.ask("GET", "/ws", UPGRADE)
        assert (answer.status, answer.body) == (403, b"no")
        assert origin.count() == 1


def test_upgrades_are_neither_stored_nor_answered_from_the_store() -> None:
    def rule(request: Request) -> Reply | None:
        if "upgrade" in request:
            request.conn.send(ACCEPTED)
            request.conn.close()
            return None
        return fresh(60)

    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        proxy.get("/ws")
        with proxy.client() as client:
            open_tunnel(client)
        assert proxy.get("/ws").body == b"body"
        assert origin.count() == 2


@pytest.mark.parametrize("how", ["reset", "close"])
def test_an_origin_that_dies_instead_of_answering(how: str) -> None:
    with Origin(lambda request: getattr(request.conn, how)()) as origin, Proxy(site(origin)) as proxy:
        assert proxy.get("/ws", UPGRADE).status == 502
        assert origin.count() >= 1
