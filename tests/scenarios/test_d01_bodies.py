"""Bodies pass through unchanged, in constant memory, and only as fast as their reader reads."""

from __future__ import annotations

import hashlib
import threading
import time

import pytest

from tests.harness import Crew, Origin, Reply, Request, Signal, chunked, reply, site
from tests.harness.proxy import Proxy

MIB = 1 << 20
BIG = 64 * MIB
IN_FLIGHT = 24 * MIB  # kernel buffers of two loopback sockets are most of it
PIECE = bytes(index % 251 for index in range(256 << 10))


class Counter:
    """Bytes handed to a socket so far, seen from another thread."""

    def __init__(self) -> None:
        self.value = 0
        self.moved = threading.Event()

    def settled(self) -> int:
        """The value once it has not moved for 150 ms."""
        while True:
            before = self.value
            time.sleep(0.15)
            if self.value == before:
                return before


def test_a_slow_reader_slows_the_origin() -> None:
    sent = Counter()

    def rule(request: Request) -> None:
        request.conn.head(200, {"Cache-Control": "no-store", "Content-Length": str(BIG)})
        for _ in range(BIG // len(PIECE)):
            request.conn.send(PIECE)
            sent.value += len(PIECE)

    with Origin(rule, patience=20) as origin, Proxy(site(origin)) as proxy:
        client = proxy.client(receive_buffer=64 << 10)
        client.request("GET", "/big")
        _, body = client.read_head()
        body.exactly(1)
        assert sent.settled() < IN_FLIGHT
        digest = hashlib.sha256(PIECE[:1])
        while data := body.some(1 << 20):
            digest.update(data)
        assert sent.value == BIG
        assert digest.digest() == hashlib.sha256(PIECE * (BIG // len(PIECE))).digest()


def test_a_slow_origin_slows_the_upload() -> None:
    sent, go = Counter(), Signal("the origin may read")

    def rule(request: Request) -> Reply:
        request.conn.hold(go)
        digest = hashlib.sha256()
        while data := request.reader.some(1 << 20):  # type: ignore[union-attr]
            digest.update(data)
        return reply(200, {"Cache-Control": "no-store"}, digest.hexdigest().encode())

    with Origin(rule, lazy=True, patience=20) as origin, Proxy(site(origin)) as proxy, Crew(20) as crew:
        client = proxy.client(timeout=20)

        def upload() -> None:
            client.send(b"POST /up HTTP/1.1\r\nHost: site.test\r\nContent-Length: %d\r\n\r\n" % BIG)
            for _ in range(BIG // len(PIECE)):
                client.send(PIECE)
                sent.value += len(PIECE)

        crew.start(upload)
        origin.wait_for(1)
        assert sent.settled() < IN_FLIGHT
        go.set()
        answer = client.read_response()
        assert answer.body.decode() == hashlib.sha256(PIECE * (BIG // len(PIECE))).hexdigest()


def test_a_big_fill_is_stored_while_a_client_reads_slowly() -> None:
    body = PIECE * 16  # 4 MiB
    with Origin(reply(200, {"Cache-Control": "max-age=60"}, body)) as origin, Proxy(site(origin)) as proxy:
        slow = proxy.client(receive_buffer=16 << 10)
        slow.request("GET", "/a")
        _, reader = slow.read_head()
        assert proxy.get("/a").body == body  # a follower does not wait for the slow one
        assert reader.rest() == body
        with proxy.lanes(hit=1):
            assert proxy.get("/a").body == body
        assert origin.count() == 1


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "FROBNICATE"])
@pytest.mark.parametrize("how", ["length", "chunked"])
def test_a_body_arrives_whole(method: str, how: str) -> None:
    chunks = [b"a", b"bc" * 5000, b"\r\n0\r\n\r\n"]
    body = b"".join(chunks)
    with Origin(reply(200, body=b"ok")) as origin, Proxy(site(origin)) as proxy, proxy.client() as client:
        if how == "length":
            client.request(method, "/up", body=body)
        else:
            client.request(method, "/up", {"Transfer-Encoding": "chunked"}, chunked(*chunks))
        assert client.read_response().body == b"ok"
        assert client.get("/next").body == b"ok"
        assert (origin.requests[0].method, origin.requests[0].body) == (method, body)
        assert origin.requests[0].framing in ("length", "chunked")


def test_a_chunked_upload_byte_by_byte() -> None:
    with Origin(reply(200, body=b"ok")) as origin, Proxy(site(origin)) as proxy, proxy.client() as client:
        client.request("POST", "/up", {"Transfer-Encoding": "chunked"})
        client.send_bytewise(chunked(b"hello", b" ", b"world", trailers={"X-T": "1"}))
        assert client.read_response().body == b"ok"
        assert origin.last.body == b"hello world"


def test_an_empty_post_keeps_its_length() -> None:
    with Origin(reply(200)) as origin, Proxy(site(origin)) as proxy:
        proxy.ask("POST", "/a", {"Content-Length": "0"})
        assert origin.last["content-length"] == "0"


def test_an_upload_starts_before_it_is_whole() -> None:
    first = Signal("the origin has the first half")

    def rule(request: Request) -> Reply:
        assert request.reader is not None
        assert request.reader.exactly(4) == b"half"
        first.set()
        return reply(200, body=request.reader.rest())

    with Origin(rule, lazy=True) as origin, Proxy(site(origin)) as proxy, proxy.client() as client:
        client.send(b"POST /a HTTP/1.1\r\nHost: site.test\r\nContent-Length: 8\r\n\r\nhalf")
        first.wait()
        client.send(b"done")
        assert client.read_response().body == b"done"


def test_a_client_that_leaves_in_mid_upload_ends_the_origins_request() -> None:
    seen = Signal("the origin saw the end")

    def rule(request: Request) -> None:
        assert request.reader is not None
        request.reader.exactly(4)
        try:
            request.reader.rest()
        except AssertionError:
            seen.set()
            request.conn.close()

    with Origin(rule, lazy=True) as origin, Proxy(site(origin)) as proxy:
        client = proxy.client()
        client.send(b"POST /a HTTP/1.1\r\nHost: site.test\r\nContent-Length: 8\r\n\r\nhalf")
        origin.wait_for(1)
        client.reset()
        seen.wait()


def test_a_client_that_leaves_in_mid_pass_ends_the_origins_answer() -> None:
    ended = Signal("the origin could not send on")

    def rule(request: Request) -> None:
        request.conn.head(200, {"Cache-Control": "no-store", "Content-Length": str(BIG)})
        try:
            for _ in range(BIG // len(PIECE)):
                request.conn.send(PIECE)
        except Exception:
            ended.set()
            raise

    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        client = proxy.client(receive_buffer=16 << 10)
        client.request("GET", "/big")
        client.read_head()
        client.reset()
        ended.wait()
        assert origin.count() == 1


@pytest.mark.parametrize("status", [204, 304])
def test_statuses_without_a_body(status: int) -> None:
    with (
        Origin(reply(status, {"ETag": '"1"'})) as origin,
        Proxy(site(origin)) as proxy,
        proxy.client() as client,
    ):
        asks = {"If-None-Match": '"1"'} if status == 304 else None
        client.request("GET", "/a", asks)
        answer = client.read_response()
        assert (answer.status, answer.body) == (status, b"")
        assert client.get("/b", asks).status == status
        assert origin.count() == 2
