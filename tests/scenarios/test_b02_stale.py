"""Stale answers: while it is refreshed, and when the origin fails (RFC 5861, RFC 9111 §4.2.4)."""

from __future__ import annotations

import pytest

from tests.harness import Origin, Reply, Request, Signal, eventually, fresh, refusing_port, reply, site
from tests.harness.proxy import Proxy, is_hit, ours

SWR = "max-age=10, stale-while-revalidate=60"
SIE = "max-age=10, stale-if-error=60"


def test_stale_while_revalidate_answers_at_once_and_refreshes_once() -> None:
    gate = Signal("the refresh may end")

    def rule(request: Request) -> Reply:
        number = origin.count()
        if number > 1:
            request.conn.hold(gate)
        return reply(200, {"Cache-Control": SWR}, b"%d" % number)

    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        proxy.get("/a")
        proxy.advance(15)
        with proxy.outcomes(stale_swr=5):
            for _ in range(5):
                stale = proxy.get("/a")
                assert (stale.body, stale["age"]) == (b"1", "15")
        origin.wait_for(2)
        gate.set()
        eventually(lambda: proxy.get("/a").body == b"2", "the refreshed answer")
        assert is_hit(proxy.get("/a"))
        assert origin.count() == 2


def test_a_304_in_the_background_freshens() -> None:
    def rule(request: Request) -> Reply:
        fields = {"Cache-Control": SWR, "ETag": '"1"'}
        return reply(304, fields) if "if-none-match" in request else reply(200, fields, b"body")

    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        proxy.get("/a")
        proxy.advance(15)
        assert proxy.get("/a").body == b"body"
        eventually(lambda: proxy.get("/a")["age"] == "0", "a fresh age")
        assert origin.count() == 2


def test_beyond_the_window_it_waits_for_the_origin() -> None:
    with Origin(lambda request: reply(200, {"Cache-Control": SWR}, b"%d" % origin.count())) as origin:
        with Proxy(site(origin)) as proxy:
            proxy.get("/a")
            proxy.advance(71)
            assert proxy.get("/a").body == b"2"


def test_a_failing_refresh_keeps_the_old_and_is_tried_again() -> None:
    def rule(request: Request) -> Reply:
        return reply(200, {"Cache-Control": SWR}, b"old") if origin.count() == 1 else reply(500)

    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        proxy.get("/a")
        proxy.advance(15)
        for _ in range(3):
            assert proxy.get("/a").body == b"old"
            proxy.advance(2)
        origin.wait_for(2)


def test_configured_window_where_the_response_says_nothing() -> None:
    with Origin(fresh(10, b"old")) as origin, Proxy(site(origin, {"stale_while_revalidate": "60s"})) as proxy:
        proxy.get("/a")
        proxy.advance(15)
        with proxy.outcomes(stale_swr=1):
            proxy.get("/a")
        origin.wait_for(2)


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_stale_if_error_on_a_server_error(status: int) -> None:
    def rule(request: Request) -> Reply:
        return (
            reply(200, {"Cache-Control": SIE}, b"old") if origin.count() == 1 else reply(status, body=b"oops")
        )

    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        proxy.get("/a")
        proxy.advance(15)
        with proxy.outcomes(stale_sie=1):
            stale = proxy.get("/a")
        assert (stale.status, stale.body, stale["age"]) == (200, b"old", "15")
        assert ours(stale)["fwd"] == "stale"
        proxy.advance(60)
        late = proxy.get("/a")
        assert (late.status, late.body) == (status, b"oops")


def test_stale_if_error_when_the_origin_is_gone() -> None:
    with Origin(reply(200, {"Cache-Control": SIE}, b"old")) as origin, Proxy(site(origin)) as proxy:
        proxy.get("/a")
        origin.stop_listening()
        proxy.advance(15)
        with proxy.outcomes(stale_sie=1):
            assert proxy.get("/a").body == b"old"
        proxy.advance(60)
        assert proxy.get("/a").status == 502


def test_stale_if_error_when_the_origin_is_silent() -> None:
    def rule(request: Request) -> Reply | None:
        if origin.count() == 1:
            return reply(200, {"Cache-Control": SIE}, b"old")
        request.conn.stall()
        return None

    with Origin(rule) as origin, Proxy(site(origin, origin_timeouts={"first_byte": "200ms"})) as proxy:
        proxy.get("/a")
        proxy.advance(15)
        assert proxy.get("/a").body == b"old"
        proxy.advance(60)
        assert proxy.get("/a").status == 504


def test_must_revalidate_forbids_it() -> None:
    fields = {"Cache-Control": SIE + ", must-revalidate"}
    with Origin(reply(200, fields, b"old")) as origin, Proxy(site(origin)) as proxy:
        proxy.get("/a")
        origin.stop_listening()
        proxy.advance(15)
        assert proxy.get("/a").status in (502, 504)


def test_without_anything_stored_a_dead_origin_is_502() -> None:
    with refusing_port() as port, Proxy(site(port)) as proxy:
        assert proxy.get("/a").status == 502
