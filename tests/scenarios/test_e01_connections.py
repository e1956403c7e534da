"""Client connections: keep-alive, pipelining in order, HTTP/1.0, close."""

from __future__ import annotations

import time

import pytest

from tests.harness import Origin, Reply, Request, Signal, fresh, reply, request_bytes, site
from tests.harness.proxy import Proxy


def test_many_requests_on_one_connection() -> None:
    with Origin(lambda request: fresh(60, request.target.encode())) as origin, Proxy(site(origin)) as proxy:
        with proxy.client() as client:
            for _ in range(2):
                for number in range(10):
                    assert client.get(f"/{number}").body == b"/%d" % number
        assert origin.count() == 10


def test_pipelined_answers_come_in_order() -> None:
    """Hits behind a slow miss wait for it; nothing is mixed up."""
    gate = Signal("the slow miss may answer")

    def rule(request: Request) -> Reply:
        if request.target.startswith("/slow"):
            request.conn.hold(gate)
        return fresh(60, request.target.encode())

    with Origin(rule) as origin, Proxy(site(origin)) as proxy, proxy.client() as client:
        client.get("/hit")
        order = ["/hit", "/slow1", "/hit", "/miss", "/hit", "/hit", "/slow2", "/hit"]
        client.send(b"".join(request_bytes("GET", target) for target in order))
        assert client.read_response().body == b"/hit"
        client.expect_open()
        gate.set()
        assert [client.read_response().body.decode() for _ in order[1:]] == order[1:]
        client.expect_open()


def test_pipelined_with_bodies_and_large_answers_between() -> None:
    large = bytes(index % 251 for index in range(1_500_000))

    def rule(request: Request) -> Reply:
        return fresh(60, large) if request.target == "/large" else reply(200, body=request.body or b"none")

    with Origin(rule) as origin, Proxy(site(origin)) as proxy, proxy.client() as client:
        client.get("/large")
        client.send(
            request_bytes("GET", "/large")
            + request_bytes("POST", "/up", body=b"GET /hidden HTTP/1.1\r\nHost: site.test\r\n\r\n")
            + request_bytes("GET", "/large")
            + request_bytes("HEAD", "/large")
            + request_bytes("GET", "/end")
        )
        assert client.read_response().body == large
        assert client.read_response().body.startswith(b"GET /hidden")
        assert client.read_response().body == large
        assert client.read_response("HEAD")["content-length"] == str(len(large))
        assert client.read_response().body == b"none"
        assert origin.count("/hidden") == 0


def test_requests_byte_by_byte() -> None:
    with Origin(lambda request: fresh(60, request.target.encode())) as origin, Proxy(site(origin)) as proxy:
        with proxy.client() as client:
            for target in ("/a", "/a", "/b"):
                client.send_bytewise(request_bytes("GET", target, {"X-Long": "y" * 50}))
                assert client.read_response().body == target.encode()
        assert origin.count() == 2


def test_an_empty_line_before_a_request_is_skipped() -> None:
    """RFC 9112 §2.2."""
    with Origin(fresh(60)) as origin, Proxy(site(origin)) as proxy, proxy.client() as client:
        for _ in range(2):
            client.send(b"\r\n" + request_bytes("GET", "/a"))
            assert client.read_response().status == 200
        assert origin.count() == 1


@pytest.mark.parametrize("target", ["/hit", "/miss", "/post"])
def test_connection_close(target: str) -> None:
    with Origin(fresh(60)) as origin, Proxy(site(origin)) as proxy:
        proxy.get("/hit")
        with proxy.client() as client:
            method = "POST" if target == "/post" else "GET"
            answer = client.ask(method, target, {"Connection": "close"})
            assert (answer.status, answer.body) == (200, b"body")
            assert (answer["connection"] or "").lower() == "close"
            client.expect_closed()
        with proxy.client() as client:  # what comes behind it is not answered
            client.send(
                request_bytes("GET", "/hit", {"Connection": "close"}) + request_bytes("GET", "/behind")
            )
            assert client.read_response().status == 200
            client.expect_closed()
        assert origin.count("/behind") == 0


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("cacheable", [True, False])
def test_http_1_0(framing: str, cacheable: bool) -> None:
    fields = {"Cache-Control": "max-age=60" if cacheable else "no-store"}
    with Origin(reply(200, fields, b"hello", framing=framing)) as origin, Proxy(site(origin)) as proxy:
        for _ in range(2):
            with proxy.client() as client:
                answer = client.ask("GET", "/a", version="HTTP/1.0")
                assert (answer.status, answer.body) == (200, b"hello")
                assert "transfer-encoding" not in answer
                client.expect_closed()
        assert origin.count() == (1 if cacheable else 2)
        assert origin.last.minor == 1


def test_http_1_0_keep_alive() -> None:
    """If the connection is kept, the answer says so and has a length."""
    with Origin(fresh(60, b"hello")) as origin, Proxy(site(origin)) as proxy, proxy.client() as client:
        answer = client.ask("GET", "/a", {"Connection": "keep-alive"}, version="HTTP/1.0")
        assert answer.body == b"hello"
        if answer["connection"] == "keep-alive":
            assert client.get("/a").body == b"hello"
        else:
            client.expect_closed()
        assert origin.count() == 1


def test_http_1_0_without_host_is_answered_somehow_but_never_forwarded_wrongly() -> None:
    with Origin(fresh(60)) as origin, Proxy(site(origin)) as proxy, proxy.client() as client:
        answer = client.ask("GET", "/a", version="HTTP/1.0", host=None)
        assert answer.status in (400, 421)
        assert origin.count() == 0


def test_a_half_closed_client_gets_its_answer() -> None:
    gate = Signal("half closed")

    def rule(request: Request) -> Reply:
        request.conn.hold(gate)
        return fresh(60)

    with Origin(rule) as origin, Proxy(site(origin)) as proxy, proxy.client() as client:
        client.request("GET", "/a")
        origin.wait_for(1)
        client.half_close()
        gate.set()
        try:
            answer = client.read_response()
        except AssertionError:
            return  # taken for a client that left: allowed, as long as nothing else breaks
        assert answer.body == b"body"
        client.expect_closed()


def test_an_idle_connection_is_closed_in_time() -> None:
    with Origin(fresh(60)) as origin, Proxy(site(origin, timeouts={"idle": "1s"})) as proxy:
        with proxy.client() as client:
            client.get("/a")
            client.expect_open(0.1)
            client.get("/a")
            client.expect_closed()
        with proxy.client() as silent:
            silent.expect_closed()
        assert origin.count() == 1


def test_a_busy_connection_outlives_the_idle_time() -> None:
    """Hits count as activity: the lane and the deadlines belong to one front."""
    with Origin(fresh(60)) as origin, Proxy(site(origin, timeouts={"idle": "1s"})) as proxy:
        with proxy.client() as client:
            deadline = time.monotonic() + 2.5
            while time.monotonic() < deadline:
                assert client.get("/a").status == 200
                time.sleep(0.05)
        assert origin.count() == 1


def test_origin_connections_are_used_again() -> None:
    with Origin(reply(200, {"Cache-Control": "no-store"}, b"x")) as origin, Proxy(site(origin)) as proxy:
        for _ in range(5):
            proxy.get("/a")
        assert (origin.count(), origin.connections) == (5, 1)


def test_an_origin_connection_that_was_closed_meanwhile_is_replaced() -> None:
    with Origin(reply(200, {"Cache-Control": "no-store"}, b"x"), keep_alive=False) as origin:
        with Proxy(site(origin)) as proxy:
            for _ in range(5):
                assert proxy.get("/a").status == 200
            assert origin.count() == 5


def test_an_idempotent_request_survives_a_connection_that_dies_under_it() -> None:
    """The origin closes a kept connection just as the next request arrives on it: RFC 9112 §9.3.1 lets us try
    again."""

    def rule(request: Request) -> Reply | None:
        if request.connection == 0 and origin.count() == 2:
            request.conn.close()
            return None
        return reply(200, {"Cache-Control": "no-store"}, b"x")

    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        assert proxy.get("/a").status == 200
        assert proxy.get("/a").status == 200
        assert origin.count() == 3


def test_a_post_is_never_sent_twice() -> None:
    def rule(request: Request) -> Reply | None:
        if request.method == "POST":
            request.conn.close()
            return None
        return reply(200, {"Cache-Control": "no-store"}, b"x")

    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        assert proxy.get("/a").status == 200
        assert proxy.ask("POST", "/a", body=b"order").status == 502
        assert origin.count(method="POST") == 1
