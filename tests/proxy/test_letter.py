"""Single sentences of RFC 9110 and 9111 about what passes through."""

from __future__ import annotations

import pytest

from tests.harness import Conn, Origin, Reply, Request, Signal, fresh, reply, site
from tests.harness.proxy import Proxy, ours


@pytest.mark.parametrize("cached", [True, False])
def test_a_response_without_date_gets_one(cached: bool) -> None:
    """RFC 9110 §6.6.1: whoever has a clock must add Date to a response that it stores or forwards."""
    control = "max-age=60" if cached else "no-store"
    with Origin(reply(200, {"Cache-Control": control}, b"x")) as origin, Proxy(site(origin)) as proxy:
        assert proxy.get("/a")["date"] is not None
        assert proxy.get("/a")["date"] is not None


def test_our_own_answers_have_a_date() -> None:
    """RFC 9110 §6.6.1: in all 2xx, 3xx and 4xx responses."""
    with Origin(fresh(60)) as origin, Proxy(site(origin)) as proxy:
        assert proxy.get("/a", host="nobody.test")["date"] is not None


def test_max_forwards_of_options() -> None:
    """RFC 9110 §7.6.2: 0 is answered here, anything else goes on less one."""
    with Origin(reply(200, {"Cache-Control": "no-store"}, b"x")) as origin, Proxy(site(origin)) as proxy:
        proxy.ask("OPTIONS", "/a", {"Max-Forwards": "3"})
        assert origin.last["max-forwards"] == "2"
        proxy.ask("OPTIONS", "/a", {"Max-Forwards": "0"})
        assert origin.count() == 1


def test_a_waiter_that_finds_the_response_stored_calls_it_a_hit_only() -> None:
    """RFC 9211 §2.2: hit and fwd exclude each other."""
    asked, go = Signal("asked"), Signal("go")

    def rule(request: Request) -> Reply:
        if not asked.is_set():
            asked.set()
            go.wait()
        return fresh(600, b"x", vary="Accept-Language")

    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        clients = []
        for language in ("de", "fr", "fr", "fr"):
            clients.append(proxy.client())
            clients[-1].request("GET", "/a", {"Accept-Language": language})
            if language == "de":
                asked.wait()
        proxy.settle()
        go.set()
        for client in clients:
            said = ours(client.read_response())
            assert ("hit" in said) != ("fwd" in said)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_if_match_of_a_stored_response(method: str) -> None:
    """RFC 9110 §13.1.1: a false If-Match is never answered with 200."""
    with Origin(fresh(600, b"x", etag='"v"')) as origin, Proxy(site(origin)) as proxy:
        proxy.get("/a")
        with proxy.client() as client:
            client.request(method, "/a", {"If-Match": '"w"'})
            got = client.read_response(method)
        assert got.status == 412 or origin.last["if-match"] == '"w"'


def test_any_tag_matches_what_is_stored() -> None:
    with Origin(fresh(600, b"x")) as origin, Proxy(site(origin)) as proxy:
        proxy.get("/a")
        assert proxy.get("/a", {"If-None-Match": "*"}).status == 304


def test_the_via_of_an_old_origin() -> None:
    """RFC 9110 §7.6.3: the received protocol is the origin's."""

    def script(conn: Conn) -> None:
        conn.expect("GET", "/a")
        conn.send(b"HTTP/1.0 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 1\r\n\r\nx")
        conn.close()

    with Origin.scripted(script) as origin, Proxy(site(origin)) as proxy:
        assert proxy.get("/a")["via"] == "1.0 edge-1"
        assert origin.count() == 1
