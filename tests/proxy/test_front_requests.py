"""The front's machine, one request at a time: faults that come with the head, expectations, half-closed clients."""

from __future__ import annotations

import socket
import struct
import time

import pytest

from tests.harness import Conn, Origin, Signal, chunked, fresh, reply, request_bytes, site
from tests.harness.proxy import Proxy

CHUNKED = b"POST /up HTTP/1.1\r\nHost: site.test\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("apart", [False, True], ids=["one-segment", "two-segments"])
def test_broken_chunks_are_answered_and_logged(apart: bool) -> None:
    """However the bytes are cut: 400 and the end (RFC 9112 §7.1)."""
    with Origin(reply(200)) as origin, Proxy(site(origin)) as proxy, proxy.client() as client:
        if apart:
            client.send(CHUNKED)
            time.sleep(0.1)
            client.send(b"ZZ\r\n")
        else:
            client.send(CHUNKED + b"ZZ\r\n")
        assert client.read_response("POST").status == 400
        client.expect_closed()
        assert [line["status"] for line in proxy.log(1)] == [400]


@pytest.mark.parametrize("apart", [False, True], ids=["one-segment", "two-segments"])
def test_a_chunked_body_over_the_limit_is_answered(apart: bool) -> None:
    with Origin(reply(200)) as origin, Proxy(site(origin, limits={"body": "1 KiB"})) as proxy:
        with proxy.client() as client:
            body = chunked(bytes(2000))
            if apart:
                client.send(CHUNKED)
                time.sleep(0.1)
                client.send(body)
            else:
                client.send(CHUNKED + body)
            assert client.read_response("POST").status == 413


def test_an_expectation_of_http_1_0_is_ignored() -> None:
    """RFC 9110 §10.1.1: a server must ignore 100-continue in an HTTP/1.0 request."""
    with Origin(reply(200, {"Cache-Control": "no-store"}, b"ok")) as origin, Proxy(site(origin)) as proxy:
        with proxy.client() as client:
            client.send(
                b"POST /up HTTP/1.0\r\nHost: site.test\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nhi"
            )
            assert client.read_response("POST").status == 200


def test_requests_before_a_half_close_are_all_answered() -> None:
    """The end of the client's side says only that no more requests come (RFC 9112 §9.3.2, §9.6)."""
    with Origin(reply(200, {"Cache-Control": "no-store"}, b"ok")) as origin, Proxy(site(origin)) as proxy:
        with proxy.client() as client:
            client.send(request_bytes("GET", "/a") + request_bytes("GET", "/b") + request_bytes("GET", "/c"))
            client.half_close()
            for _ in range(3):
                assert client.read_response().status == 200
            client.expect_closed()
        assert origin.count() == 3


def test_a_half_close_before_the_101_reaches_the_origin() -> None:
    asked, go = Signal("asked"), Signal("go")
    ended: list[bytes] = []

    def script(conn: Conn) -> None:
        conn.expect("GET", "/ws")
        asked.set()
        go.wait()
        conn.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        ended.append(conn.wire.until_closed())
        conn.close()

    with Origin.scripted(script) as origin, Proxy(site(origin)) as proxy, proxy.client() as client:
        client.request("GET", "/ws", {"Connection": "upgrade", "Upgrade": "websocket"})
        asked.wait()
        client.send(b"first")
        client.half_close()
        time.sleep(0.1)
        go.set()
        assert client.wire.until_closed().startswith(b"HTTP/1.1 101")
        assert ended == [b"first"]


def test_a_head_answered_from_the_store_between_others() -> None:
    with Origin(fresh(60, b"hello")) as origin, Proxy(site(origin)) as proxy, proxy.client() as client:
        client.get("/a")
        client.send(request_bytes("HEAD", "/a") + request_bytes("GET", "/a") + request_bytes("HEAD", "/a"))
        assert client.read_response("HEAD").status == 200
        assert client.read_response().body == b"hello"
        assert client.read_response("HEAD").status == 200


def test_the_answer_acknowledges_a_connections_first_request() -> None:
    """With a segment of its own for that, each client on this machine spent a twentieth of its time on it."""
    segments_in = 140  # of the kernel's `struct tcp_info`

    def segments(port: int) -> int:
        """Those that came until the answer was read: the one that accepts, and the answer; or one more."""
        with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
            sock.sendall(b"GET /a HTTP/1.1\r\nHost: site.test\r\n\r\n")
            assert sock.recv(1 << 16).startswith(b"HTTP/1.1 200")
            info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
            return int(struct.unpack_from("I", info, segments_in)[0])

    with Origin(reply(200, {"Cache-Control": "max-age=60"}, b"x")) as origin, Proxy(site(origin)) as proxy:
        assert proxy.get("/a").status == 200
        # an answer that takes 40 ms is not waited for: on a busy machine that may happen
        assert min(segments(proxy.port) for _ in range(10)) == 2
