"""Which responses are stored (RFC 9111 §3), through real sockets: two requests, and how many reach the
origin."""

from __future__ import annotations

from email.utils import formatdate

import pytest

from cdn.proxy.explaining import explain
from tests.harness import FieldsLike, Origin, Reply, Request, reply, site
from tests.harness.proxy import Proxy

FRESH = {"Cache-Control": "max-age=60"}
CREDENTIALS = {"Authorization": "Basic abc"}

STORED: dict[str, tuple[int, FieldsLike, FieldsLike]] = {
    # name: status, response fields, request fields
    "max-age": (200, FRESH, None),
    "s-maxage": (200, {"Cache-Control": "s-maxage=60"}, None),
    "s-maxage over max-age": (200, {"Cache-Control": "max-age=0, s-maxage=60"}, None),
    "two lines": (200, [("Cache-Control", "public"), ("Cache-Control", "max-age=60")], None),
    "quoted": (200, {"Cache-Control": 'max-age="60"'}, None),
    "404": (404, FRESH, None),
    "301": (301, {**FRESH, "Location": "/b"}, None),
    "unusual status": (299, FRESH, None),
    "503 with lifetime": (503, FRESH, None),
    "public with credentials": (200, {"Cache-Control": "public, max-age=60"}, CREDENTIALS),
    "s-maxage with credentials": (200, {"Cache-Control": "s-maxage=60"}, CREDENTIALS),
    "must-revalidate with credentials": (200, {"Cache-Control": "must-revalidate, max-age=60"}, CREDENTIALS),
    "request cookie": (200, FRESH, {"Cookie": "theme=dark"}),
    "unknown directive": (200, {"Cache-Control": "max-age=60, blue"}, None),
}

NOT_STORED: dict[str, tuple[int, FieldsLike, FieldsLike]] = {
    "no-store": (200, {"Cache-Control": "no-store, max-age=60"}, None),
    "no-store in a second line": (
        200,
        [("Cache-Control", "max-age=60"), ("Cache-Control", "no-store")],
        None,
    ),
    "private": (200, {"Cache-Control": "private, max-age=60"}, None),
    "nothing said": (200, None, None),
    "max-age=0": (200, {"Cache-Control": "max-age=0"}, None),
    "expired": (200, {"Expires": "Thu, 01 Jan 1970 00:00:00 GMT"}, None),
    "invalid Expires": (200, {"Expires": "0"}, None),
    "credentials": (200, FRESH, CREDENTIALS),
    "Set-Cookie and a guess": (
        200,
        {"Last-Modified": "Thu, 01 Jan 2015 00:00:00 GMT", "Set-Cookie": "id=1"},
        None,
    ),
    "Vary: *": (200, {**FRESH, "Vary": "*"}, None),
    "Vary with a star among others": (200, {**FRESH, "Vary": "Accept, *"}, None),
    "206": (206, {**FRESH, "Content-Range": "bytes 0-3/10"}, None),
    "500 without lifetime": (500, None, None),
    "400 without lifetime": (400, None, None),
    "request no-store": (200, FRESH, {"Cache-Control": "no-store"}),
}


@pytest.mark.parametrize(("status", "fields", "asked"), STORED.values(), ids=STORED)
def test_stored(status: int, fields: FieldsLike, asked: FieldsLike) -> None:
    with Origin(reply(status, fields, b"body")) as origin, Proxy(site(origin)) as proxy:
        for _ in range(2):
            answer = proxy.get("/a", asked)
            assert (answer.status, answer.body) == (status, b"body")
        assert origin.count() == 1


@pytest.mark.parametrize(("status", "fields", "asked"), NOT_STORED.values(), ids=NOT_STORED)
def test_not_stored(status: int, fields: FieldsLike, asked: FieldsLike) -> None:
    with Origin(reply(status, fields, b"body")) as origin, Proxy(site(origin)) as proxy:
        with proxy.lanes(hit=0):
            for _ in range(2):
                answer = proxy.get("/a", asked)
                assert (answer.status, answer.body) == (status, b"body")
        assert origin.count() == 2


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "FROBNICATE"])
def test_other_methods_pass(method: str) -> None:
    with Origin(reply(200, FRESH, b"body")) as origin, Proxy(site(origin)) as proxy:
        for _ in range(2):
            assert proxy.ask(method, "/a").body == b"body"
        assert origin.count(method=method) == 2


def test_a_shared_answer_is_given_to_those_with_credentials_too() -> None:
    """A stored shared response answers a request with Authorization as well (RFC 9111 §3.5 limits storing
    only)."""
    with Origin(reply(200, FRESH, b"for all")) as origin, Proxy(site(origin)) as proxy:
        proxy.get("/a")
        assert proxy.get("/a", CREDENTIALS).body == b"for all"
        assert origin.count() == 1


def test_no_cache_is_stored_and_asked_about_every_time() -> None:
    fields = {"Cache-Control": "no-cache", "ETag": '"1"'}

    def rule(request: Request) -> Reply:
        return reply(304, fields) if request["if-none-match"] == '"1"' else reply(200, fields, b"body")

    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        for _ in range(3):
            assert proxy.get("/a").body == b"body"
        assert [request["if-none-match"] for request in origin.requests] == [None, '"1"', '"1"']


def test_heuristic_freshness_is_a_tenth_of_the_age_of_the_page() -> None:
    """Last-Modified 1,000 s ago: fresh for 100 s."""
    with Origin(lambda request: reply(200, {"Last-Modified": modified}, b"body")) as origin:
        with Proxy(site(origin)) as proxy:
            modified = formatdate(proxy.now() - 1000, usegmt=True)
            proxy.get("/a")
            proxy.advance(99)
            assert proxy.get("/a")["age"] == "99"
            assert origin.count() == 1
            proxy.advance(2)
            proxy.get("/a")
            assert origin.count() == 2


def test_explain_says_why_the_last_response_was_not_stored() -> None:
    with Origin(reply(200, {"Cache-Control": "no-store"}, b"body")) as origin, Proxy(site(origin)) as proxy:
        site_of = proxy._worker.site
        assert explain(site_of, "http://site.test/a", [])["last_not_stored"] is None
        proxy.get("/a")
        told = explain(site_of, "http://site.test/a", [])
        assert (told["last_not_stored"], told["predicted_uncacheable"]) == ("no-store", True)
        assert (told["decision"], told["reason"]) == ("fetch", "not-stored")
