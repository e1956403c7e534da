"""Long exchanges: who is slow for a good reason is never cut, and every request is logged once."""

from __future__ import annotations

import threading
import time

import pytest

from tests.harness import Conn, Origin, RawClient, Reply, Request, chunked, fresh, reply, request_bytes, site
from tests.harness.proxy import Proxy


def test_a_long_poll_is_left_alone() -> None:
    def rule(request: Request) -> Reply:
        time.sleep(12)
        return reply(200, {"Cache-Control": "no-store"}, b"at last")

    with Origin(rule, patience=20) as origin, Proxy(site(origin), patience=20) as proxy:
        with proxy.client(timeout=20) as plain, proxy.client(timeout=20) as body:
            plain.request("GET", "/a")
            body.request("POST", "/b", body=b"x" * 1000)
            assert plain.read_response().body == b"at last"
            assert body.read_response("POST").body == b"at last"


def test_events_a_few_bytes_at_a_time_are_left_alone() -> None:
    def script(conn: Conn) -> None:
        conn.expect("GET", "/a")
        conn.head(200, {"Cache-Control": "no-store", "Transfer-Encoding": "chunked"})
        for _ in range(4):
            conn.chunk(b"data: x\n\n")
            time.sleep(3)
        conn.end_chunks()

    with Origin.scripted(script, patience=20) as origin, Proxy(site(origin), patience=20) as proxy:
        with proxy.client(timeout=20) as client:
            assert client.get("/a").body == b"data: x\n\n" * 4


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_an_upload_that_waits_for_a_slow_origin_is_left_alone(framing: str) -> None:
    """It is the origin that does not take it: the client is not slow."""
    body = bytes(8 << 20)

    def script(conn: Conn) -> None:
        reader = conn.expect("POST", "/a", lazy=True).reader
        time.sleep(11)
        assert reader is not None
        got = len(reader.rest())
        conn.respond(200, {"Cache-Control": "no-store"}, str(got).encode())

    with Origin.scripted(script, patience=25) as origin, Proxy(site(origin), patience=20) as proxy:
        with proxy.client(timeout=25) as client:
            if framing == "length":
                client.request("POST", "/a", body=body)
            else:
                client.send(b"POST /a HTTP/1.1\r\nHost: site.test\r\nTransfer-Encoding: chunked\r\n\r\n")
                client.send(chunked(body[: 4 << 20], body[4 << 20 :]))
            assert client.read_response("POST").body == str(len(body)).encode()


def test_a_rest_of_a_body_that_comes_slowly_does_not_cost_the_answer() -> None:
    """Answered early: the answer arrives although the body is still on its way (RFC 9112 §9.6)."""
    with Origin(fresh(600, b"x" * 1000)) as origin, Proxy(site(origin)) as proxy, proxy.client() as client:
        client.send(b"POST /nowhere HTTP/1.1\r\nHost: nobody.test\r\nContent-Length: 200000\r\n\r\n")
        for _ in range(32):
            try:
                client.send(b"x" * 1000)
            except OSError:
                break
            time.sleep(0.1)
        assert client.read_response("POST").status == 421


def test_every_request_is_logged_once() -> None:
    rules = {"/a": fresh(600, b"x"), "/b": reply(200, {"Cache-Control": "no-store"}, b"y")}
    with Origin(rules) as origin, Proxy(site(origin)) as proxy:
        sent = 0
        with proxy.client() as client:
            for target in ("/a", "/a", "/b", "/nothing", "/a"):
                client.get(target)
                sent += 1
            client.get("/a", host="nobody.test")
            client.send(b"POST /b HTTP/1.1\r\nHost: site.test\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n")
            sent += 2
            time.sleep(0.3)
        with proxy.client() as client:
            client.send(b"GET /\x00 HTTP/1.1\r\n\r\n")
            client.wire.until_closed()
            sent += 1
        with proxy.client() as client:
            client.request("GET", "/b")
            client.reset()
            sent += 1
        with proxy.client() as client:
            client.send(b"POST /b HTTP/1.1\r\nHost: site.test\r\nContent-Length: 100\r\n\r\nhalf")
            time.sleep(0.1)
            client.reset()
            sent += 1
        time.sleep(0.5)
        assert len(proxy.log(sent - 1)) == sent
        time.sleep(0.1)
        assert proxy.stats()["connections"]["open"] == 0


@pytest.mark.parametrize("tls", [False])
def test_a_thousand_pipelined_requests_cost_others_nothing(tls: bool) -> None:
    """What one connection has waiting is bounded, and answering it takes no longer the more there is."""
    with Origin(fresh(600, b"x")) as origin, Proxy(site(origin)) as proxy, proxy.client(timeout=30) as client:
        one = request_bytes("GET", "/a", host="nobody.test")

        def timed(count: int) -> float:
            begin = time.process_time()  # of all threads here; other work on the machine hardly moves it
            thread = threading.Thread(target=client.send, args=(one * count,))
            thread.start()
            for _ in range(count):
                assert client.read_response().status == 421
            thread.join()
            return (time.process_time() - begin) / count

        few = min(timed(200) for _ in range(3))
        many = timed(8000)
        assert many < 8 * few, f"{1e6 * few:.0f} us each of 200, {1e6 * many:.0f} us each of 8000"


@pytest.mark.parametrize("version", ["HTTP/1.0", "HTTP/1.1"])
@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
@pytest.mark.parametrize("kept", [False, True])
def test_old_clients_get_whole_answers(version: str, framing: str, kept: bool) -> None:
    rules = {"/a": reply(200, {"Cache-Control": "max-age=60"}, b"hello", framing=framing)}
    fields = {"Connection": "keep-alive"} if kept else {}
    with Origin(rules) as origin, Proxy(site(origin)) as proxy:
        for _ in range(2):
            with RawClient(proxy.port) as client:
                client.send(request_bytes("GET", "/a", fields, version=version))
                got = client.read_response()
                assert got.body == b"hello"
                if version == "HTTP/1.0":
                    assert got["transfer-encoding"] is None
