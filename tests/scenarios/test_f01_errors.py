"""What bad input and bad origins get: a status, a short body that names the request, one line in the log."""

from __future__ import annotations

import pytest

from tests.harness import HOST, Origin, RawClient, Reply, Request, Response, fresh, refusing_port, reply, site
from tests.harness.proxy import Proxy


def check(answer: Response, status: int, proxy: Proxy, lines: int = 1) -> None:
    """The status, a short text body, and the id in it found again in the last of `lines` log lines."""
    assert answer.status == status
    assert len(answer.body) < 1024
    assert (answer["content-type"] or "").startswith("text/plain")
    log = proxy.log(lines)
    assert len(log) == lines
    assert log[-1]["status"] == status
    assert str(log[-1]["id"]).encode() in answer.body


def test_unknown_host_is_421() -> None:
    with Origin(fresh(60)) as origin, Proxy(site(origin)) as proxy:
        check(proxy.get("/a", host="else.test"), 421, proxy)
        assert origin.count() == 0


def test_no_route_is_404() -> None:
    route = {"match": {"host": [HOST], "path": "/static/*"}}
    with Origin(fresh(60)) as origin, Proxy(site(origin, route=route)) as proxy:
        check(proxy.get("/a"), 404, proxy)
        assert origin.count() == 0


MALFORMED = {
    "no version": b"GET /\r\n\r\n",
    "garbage": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: site.test\r\nHost: site.test\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "field without colon": b"GET / HTTP/1.1\r\nHost: site.test\r\nnonsense\r\n\r\n",
    "backslash in the path": b"GET /a\\b HTTP/1.1\r\nHost: site.test\r\n\r\n",
    "bad escape": b"GET /%zz HTTP/1.1\r\nHost: site.test\r\n\r\n",
    "above the root": b"GET /%00 HTTP/1.1\r\nHost: site.test\r\n\r\n",
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED)
def test_malformed_is_400_and_close(data: bytes) -> None:
    with Origin(fresh(60)) as origin, Proxy(site(origin)) as proxy, proxy.client() as client:
        client.send(data)
        answer = client.read_response()
        client.expect_closed()
        check(answer, 400, proxy)
        assert (answer["connection"] or "").lower() == "close"
        assert origin.count() == 0


def ask_raw(proxy: Proxy, data: bytes) -> Response:
    with RawClient(proxy.port) as client:
        client.send(data)
        answer = client.read_response()
        client.expect_closed()
        return answer


def test_too_large_heads() -> None:
    with Origin(fresh(60)) as origin:
        with Proxy(site(origin, limits={"head": "4 KiB", "fields": 20})) as proxy:
            start = b"GET / HTTP/1.1\r\nHost: site.test\r\n"
            check(ask_raw(proxy, start + b"X: " + b"y" * 5000 + b"\r\n\r\n"), 431, proxy, 1)
            check(ask_raw(proxy, start + b"X: y\r\n" * 20 + b"\r\n"), 431, proxy, 2)
            check(
                ask_raw(proxy, b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\nHost: site.test\r\n\r\n"),
                414,
                proxy,
                3,
            )
            assert origin.count() == 0
            assert proxy.get("/" + "a" * 3000).status == 200


def test_a_body_above_the_limit_is_413() -> None:
    with Origin(reply(200)) as origin, Proxy(site(origin, limits={"body": "1 KiB"})) as proxy:
        assert proxy.ask("POST", "/a", body=b"x" * 1024).status == 200
        check(proxy.ask("POST", "/a", {"Content-Length": "1025"}), 413, proxy, 2)
        assert origin.count() == 1


@pytest.mark.parametrize("method", ["CONNECT", "TRACE", "PURGE"])
def test_methods_that_are_not_for_clients(method: str) -> None:
    target, host = ("site.test:443", "site.test:443") if method == "CONNECT" else ("/a", HOST)
    with Origin(fresh(60)) as origin, Proxy(site(origin)) as proxy:
        proxy.get("/a")
        check(proxy.ask(method, target, host=host), 405, proxy, 2)
        with proxy.lanes(hit=1):
            proxy.get("/a")
        assert origin.count() == 1


def test_origin_down_is_502() -> None:
    with refusing_port() as port, Proxy(site(port)) as proxy:
        check(proxy.get("/a"), 502, proxy)


def test_origin_that_hangs_up_is_502() -> None:
    with Origin(lambda request: request.conn.close()) as origin, Proxy(site(origin)) as proxy:
        check(proxy.get("/a"), 502, proxy)


def test_origin_that_talks_nonsense_is_502() -> None:
    with Origin(lambda request: request.conn.send(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")) as origin:
        with Proxy(site(origin)) as proxy:
            check(proxy.get("/a"), 502, proxy)


def test_slow_origin_is_504() -> None:
    with Origin(lambda request: request.conn.stall()) as origin:
        with Proxy(site(origin, origin_timeouts={"first_byte": "200ms"})) as proxy:
            check(proxy.get("/a"), 504, proxy)


def test_an_origin_silent_in_mid_body_is_cut() -> None:
    def rule(request: Request) -> None:
        request.conn.head(200, {"Cache-Control": "max-age=60", "Content-Length": "100"})
        request.conn.send(b"half")
        request.conn.stall()

    with Origin(rule) as origin, Proxy(site(origin, origin_timeouts={"between_bytes": "300ms"})) as proxy:
        with proxy.client() as client:
            client.request("GET", "/a")
            assert client.read_response(tolerate_abort=True).aborted
        assert origin.count() == 1


def test_errors_of_ours_are_not_stored_and_the_next_request_is_right() -> None:
    def rule(request: Request) -> Reply | None:
        if origin.count() == 1:
            request.conn.close()
            return None
        return fresh(60, b"well")

    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        first = proxy.get("/a")
        assert first.status in (200, 502)
        assert proxy.get("/a").body == b"well"


def test_an_origins_own_errors_pass_unchanged() -> None:
    with Origin(lambda request: reply(int(request.target[1:]), {"X-Own": "1"}, b"own")) as origin:
        with Proxy(site(origin)) as proxy:
            for status in (400, 401, 403, 404, 413, 418, 429, 500, 502, 503, 504, 599):
                answer = proxy.get(f"/{status}")
                assert (answer.status, answer.body, answer["x-own"]) == (status, b"own", "1")
