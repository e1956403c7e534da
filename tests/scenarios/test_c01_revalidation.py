"""Asking the origin whether what is stored still holds (RFC 9111 §4.3)."""

from __future__ import annotations

import pytest

from tests.harness import Origin, Reply, Request, fresh, reply, site
from tests.harness.proxy import Proxy, is_hit, ours

MODIFIED = "Thu, 01 Jan 2015 00:00:00 GMT"


def test_a_304_freshens_and_its_fields_count() -> None:
    def rule(request: Request) -> Reply:
        if request["if-none-match"] == '"1"':
            return reply(
                304, {"ETag": '"1"', "Cache-Control": "max-age=30", "X-New": "yes", "Content-Length": "99"}
            )
        return fresh(10, b"body", etag='"1"', x_old="kept", x_new="no")

    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        proxy.get("/a")
        proxy.advance(15)
        with proxy.outcomes(revalidated=1):
            answer = proxy.get("/a")
        assert (answer.status, answer.body, answer["x-old"]) == (200, b"body", "kept")
        assert answer.all("x-new") == ["yes"]
        assert answer.all("content-length") == ["4"]
        assert ours(answer)["fwd"] == "stale"
        proxy.advance(20)
        hit = proxy.get("/a")
        assert (hit.body, hit["age"], hit["x-new"], hit["content-length"]) == (b"body", "20", "yes", "4")
        assert is_hit(hit)
        assert origin.count() == 2


def test_a_200_replaces() -> None:
    def rule(request: Request) -> Reply:
        number = origin.count()
        return fresh(10, b"version %d" % number, etag=f'"{number}"')

    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        proxy.get("/a")
        proxy.advance(15)
        second = proxy.get("/a")
        assert (second.body, second["etag"]) == (b"version 2", '"2"')
        assert origin.last["if-none-match"] == '"1"'
        assert proxy.get("/a").body == b"version 2"
        assert origin.count() == 2


@pytest.mark.parametrize(
    ("fields", "sent"),
    [
        ({"ETag": 'W/"1"'}, {"if-none-match": 'W/"1"', "if-modified-since": None}),
        ({"Last-Modified": MODIFIED}, {"if-none-match": None, "if-modified-since": MODIFIED}),
        ({"ETag": '"1"', "Last-Modified": MODIFIED}, {"if-none-match": '"1"', "if-modified-since": MODIFIED}),
        ({}, {"if-none-match": None, "if-modified-since": None}),
    ],
)
def test_the_validators_sent(fields: dict[str, str], sent: dict[str, str | None]) -> None:
    with Origin(reply(200, {"Cache-Control": "max-age=10", **fields}, b"body")) as origin:
        with Proxy(site(origin)) as proxy:
            proxy.get("/a")
            proxy.advance(15)
            proxy.get("/a")
            assert {name: origin.last[name] for name in sent} == sent


def test_a_clients_own_validator_does_not_replace_the_stores() -> None:
    """The client holds "2"; the store holds "1"; the origin is asked about what the store has."""

    def rule(request: Request) -> Reply:
        tags = request["if-none-match"] or ""
        return (
            reply(304, {"ETag": '"1"', "Cache-Control": "max-age=10"})
            if '"1"' in tags
            else fresh(10, etag='"1"')
        )

    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        proxy.get("/a")
        proxy.advance(15)
        answer = proxy.get("/a", {"If-None-Match": '"2"'})
        assert (answer.status, answer.body) == (200, b"body")
        proxy.advance(15)
        assert proxy.get("/a", {"If-None-Match": '"1"'}).status == 304


def test_a_clients_condition_with_nothing_stored_is_forwarded_or_answered() -> None:
    """Whichever way, the client gets its 304 and the store never keeps a 304 as an answer."""

    def rule(request: Request) -> Reply:
        if request["if-none-match"] == '"1"':
            return reply(304, {"ETag": '"1"', "Cache-Control": "max-age=60"})
        return fresh(60, etag='"1"')

    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        assert proxy.get("/a", {"If-None-Match": '"1"'}).status == 304
        plain = proxy.get("/a")
        assert (plain.status, plain.body) == (200, b"body")
        assert origin.count() <= 2


def test_a_404_on_revalidation_is_the_answer() -> None:
    def rule(request: Request) -> Reply:
        return (
            fresh(10, etag='"1"')
            if origin.count() == 1
            else reply(404, {"Cache-Control": "no-store"}, b"gone")
        )

    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        proxy.get("/a")
        proxy.advance(15)
        for _ in range(2):
            answer = proxy.get("/a")
            assert (answer.status, answer.body) == (404, b"gone")


def test_a_stored_redirect_is_not_revalidated_into_a_page() -> None:
    with (
        Origin(reply(302, {"Cache-Control": "max-age=10", "Location": "/b"})) as origin,
        Proxy(site(origin)) as proxy,
    ):
        for _ in range(2):
            assert proxy.get("/a")["location"] == "/b"
        assert origin.count() == 1
