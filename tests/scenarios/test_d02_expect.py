"""`Expect: 100-continue` (RFC 9110 §10.1.1): the client waits for a word before it sends its body."""

from __future__ import annotations

from tests.harness import Origin, Reply, Request, fresh, reply, request_bytes, site
from tests.harness.proxy import Proxy

HEAD = b"POST /up HTTP/1.1\r\nHost: site.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"


def test_the_client_is_told_to_continue() -> None:
    with Origin(reply(200, body=b"ok")) as origin, Proxy(site(origin)) as proxy, proxy.client() as client:
        client.send(HEAD)
        assert client.wire.line("interim") == b"HTTP/1.1 100 Continue"
        while client.wire.line("interim"):
            pass
        client.send(b"hello")
        answer = client.read_response()
        assert (answer.status, answer.body) == (200, b"ok")
        assert origin.last.body == b"hello"
        assert client.get("/next").status == 200


def test_a_body_sent_without_waiting_is_taken() -> None:
    with Origin(reply(200, body=b"ok")) as origin, Proxy(site(origin)) as proxy, proxy.client() as client:
        client.send(HEAD + b"hello" + request_bytes("GET", "/next"))
        assert client.read_response().body == b"ok"
        assert client.read_response().status == 200
        assert [request.body for request in origin.requests] == [b"hello", b""]


def test_no_continue_for_what_is_refused_at_once() -> None:
    with Origin(reply(200)) as origin, Proxy(site(origin)) as proxy, proxy.client() as client:
        client.send(HEAD.replace(b"site.test", b"else.test"))
        answer = client.read_response()
        assert (answer.status, answer.interim) == (421, [])
        assert origin.count() == 0


def test_an_origin_that_refuses_early() -> None:
    """The origin answers 413 from the head alone; the client gets that, and nothing of its body becomes a
    request."""

    def rule(request: Request) -> Reply:
        return reply(413, body=b"too much", close=True)

    with Origin(rule, lazy=True) as origin, Proxy(site(origin)) as proxy, proxy.client() as client:
        client.send(HEAD)
        assert client.read_response().status == 413
        assert origin.count() == 1


def test_a_stored_answer_needs_no_continue() -> None:
    with Origin(fresh(60, b"hello")) as origin, Proxy(site(origin)) as proxy, proxy.client() as client:
        client.get("/a")
        answer = client.get("/a", {"Expect": "100-continue"})
        assert (answer.status, answer.body) == (200, b"hello")
        assert origin.count() <= 2
