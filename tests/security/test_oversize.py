"""Oversize heads and floods: refused within bounds of bytes, fields, depth and memory."""

from __future__ import annotations

import socket

import pytest

from tests.harness import Crew, Origin, RawClient, Reply, Request, Signal, fresh, request_bytes, site
from tests.harness.process import Serve
from tests.harness.proxy import Proxy

START = b"GET /a HTTP/1.1\r\nHost: site.test\r\n"

ENDLESS = {
    "field": (START + b"X: ", b"y" * 4096),
    "fields": (START, b"X: y\r\n" * 500),
    "name": (START, b"y" * 4096),
    "target": (b"GET /", b"a" * 4096),
    "method": (b"", b"G" * 4096),
    "version": (b"GET /a HTTP/", b"1" * 4096),
    "empty lines": (b"", b"\r\n" * 2048),
    "chunk extension": (
        b"POST /a HTTP/1.1\r\nHost: site.test\r\nTransfer-Encoding: chunked\r\n\r\n1;",
        b"x" * 4096,
    ),
    "trailer": (
        b"POST /a HTTP/1.1\r\nHost: site.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
        b"X: y\r\n" * 500,
    ),
}


@pytest.mark.parametrize(("start", "piece"), ENDLESS.values(), ids=ENDLESS)
def test_what_has_no_end_is_refused(start: bytes, piece: bytes) -> None:
    with Origin(fresh(60)) as origin, Proxy(site(origin)) as proxy, proxy.client() as client:
        sent = 0
        try:
            client.send(start)
            while sent < 64 << 20:
                client.send(piece)
                sent += len(piece)
                if not client.wire.silent(0):
                    break
        except OSError:
            pass
        assert sent < 16 << 20
        rest = client.wire.until_closed()
        assert rest == b"" or rest[9:12] in (b"400", b"414", b"431", b"501", b"413", b"502")
        proxy.settle()
        assert all(not request.body for request in origin.requests)


SIZES = [4095, 4096, 4097, 5000]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("split", [1, 7, 1000])
def test_the_bound_is_the_same_however_it_is_cut(size: int, split: int) -> None:
    """A head of exactly so many bytes, in segments: taken up to the limit, refused beyond, never in
    between."""
    base = START + b"X: \r\n\r\n"
    data = START + b"X: " + b"y" * (size - len(base)) + b"\r\n\r\n"
    assert len(data) == size
    with Origin(fresh(60)) as origin, Proxy(site(origin, limits={"head": "4 KiB"})) as proxy:
        with proxy.client() as client:
            try:
                for index in range(0, len(data), split * 97):
                    client.send(data[index : index + split * 97])
            except OSError:
                pass  # refused before its end
            assert client.read_response().status == (200 if size <= 4096 else 431)
        assert origin.count() == (size <= 4096)


def flood(count: int) -> None:
    """All requests sent before the first answer is read; memory stays bounded, answers are in order."""
    with Origin(fresh(600, bytes(2000))) as origin:
        with Serve(site(origin, log={"access": False}, store={"memory": "8 MiB"})) as node, Crew(120) as crew:
            node.get("/a")
            memory = node.resident()
            client = RawClient(node.port, timeout=60, receive_buffer=64 << 10)
            task = crew.start(client.send, request_bytes("GET", "/a") * count)
            highest = 0
            for number in range(count):
                assert len(client.read_response().body) == 2000
                if number % 500 == 0:
                    highest = max(highest, node.resident())
            task.result(10)
            client.close()
            assert highest - memory < 8 << 20
            assert origin.count() == 1


def test_ten_thousand_pipelined_requests() -> None:
    flood(10_000)


def test_pipelined_misses_are_held_back() -> None:
    """While an exchange runs only so much behind it is read: the rest stays with the client."""
    gate = Signal("the first may answer")

    def rule(request: Request) -> Reply:
        request.conn.hold(gate)
        return fresh(600)

    with Origin(rule, patience=20) as origin, Proxy(site(origin)) as proxy, Crew(20) as crew:
        client = proxy.client(timeout=20)
        count = 200_000
        sent = {"bytes": 0}
        data = request_bytes("GET", "/a") * 1000

        def send() -> None:
            for _ in range(count // 1000):
                client.send(data)
                sent["bytes"] += len(data)

        task = crew.start(send)
        origin.wait_for(1)
        task.thread.join(1.0)
        assert task.thread.is_alive(), "10 MB of pipelined requests were taken in"
        assert sent["bytes"] < count // 1000 * len(data)
        gate.set()
        client.wire.sock.shutdown(socket.SHUT_RDWR)  # wakes the sender, which a close would not
        with pytest.raises(OSError):
            task.result(10)
        assert origin.count() == 1
