"""Denial of service by a poisoned error: one odd request must not make everybody's next one fail.

Statuses that say more about the request than about the resource are stored only with a lifetime that the
response states itself.
"""

from __future__ import annotations

import pytest

from tests.harness import Origin, RawClient, Reply, Request, Response, fresh, reply, request_bytes, site
from tests.harness.proxy import Proxy

ODD = {
    "oversized field": request_bytes("GET", "/a", {"X-Big": "y" * 12_000}),
    "many fields": request_bytes("GET", "/a", [(f"X-{number}", "y") for number in range(100)]),
    "control in a field": request_bytes("GET", "/a", {"X-Odd": "\x01"}),
    "method override": request_bytes("GET", "/a", {"X-HTTP-Method-Override": "POST"}),
    "odd expectation": request_bytes("GET", "/a", {"Expect": "odd"}),
    "odd range": request_bytes("GET", "/a", {"Range": "bytes=5-1,x"}),
    "odd authorization": request_bytes("GET", "/a", {"Authorization": "Odd"}),
    "odd upgrade": request_bytes("GET", "/a", {"Connection": "Upgrade", "Upgrade": "odd"}),
    "odd encoding": request_bytes("GET", "/a", {"Accept-Encoding": "odd;q=9"}),
    "odd condition": request_bytes("GET", "/a", {"If-Match": "odd"}),
}


def delicate(request: Request) -> Reply:
    """An origin with smaller limits than ours, that answers with what a cache might guess a lifetime for."""
    old = {"Last-Modified": "Thu, 01 Jan 2015 00:00:00 GMT"}
    if len(request.raw) > 8000:
        return reply(431, old, b"too large")
    if len(request.fields) > 60:
        return reply(413, old, b"too many")
    if "x-http-method-override" in request:
        return reply(405, {**old, "Allow": "GET"}, b"method")
    if "odd" in request.raw.decode("latin-1"):
        return reply(400, old, b"odd")
    return fresh(60, b"well")


def ask(proxy: Proxy, data: bytes) -> Response:
    with RawClient(proxy.port) as client:
        client.send(data)
        return client.read_response()


@pytest.mark.parametrize("data", ODD.values(), ids=ODD)
def test_the_next_plain_request_is_well(data: bytes) -> None:
    with Origin(delicate) as origin, Proxy(site(origin)) as proxy:
        assert ask(proxy, data).status in (200, 400, 405, 412, 413, 416, 417, 431)
        assert proxy.get("/a").body == b"well"
        assert origin.count() <= 2


@pytest.mark.parametrize("cache", [None, {"ttl": "60s"}], ids=["plain", "route with a ttl"])
@pytest.mark.parametrize("status", [400, 405, 413, 414, 431, 500, 501, 502, 503, 504])
def test_errors_are_stored_only_with_a_lifetime_of_their_own(
    status: int, cache: dict[str, str] | None
) -> None:
    old = {"Last-Modified": "Thu, 01 Jan 2015 00:00:00 GMT"}
    rules = {
        "/silent": reply(status, old, b"x"),
        "/said": reply(status, {**old, "Cache-Control": "max-age=60"}, b"x"),
    }
    with Origin(rules) as origin, Proxy(site(origin, cache)) as proxy:
        for _ in range(2):
            assert proxy.get("/silent").status == status
            assert proxy.get("/said").status == status
        assert (origin.count("/silent"), origin.count("/said")) == (2, 1)


def test_our_own_refusals_are_never_stored() -> None:
    with Origin(fresh(60, b"well")) as origin, Proxy(site(origin, limits={"head": "4 KiB"})) as proxy:
        assert ask(proxy, request_bytes("GET", "/a", {"X-Big": "y" * 5000})).status == 431
        assert ask(proxy, b"GET /a HTTP/1.1\r\nHost: site.test\r\nX: a\x00\r\n\r\n").status == 400
        assert proxy.get("/a").body == b"well"
        assert origin.count() == 1
