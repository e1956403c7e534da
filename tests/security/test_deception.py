"""Cache deception: nothing is stored for what its URL looks like, and the route, the key and the origin see
one path."""

from __future__ import annotations

from posixpath import normpath
from urllib.parse import unquote

import pytest

from tests.harness import HOST, Origin, Reply, Request, reply, site
from tests.harness.proxy import Proxy, is_hit

LOOKS_STATIC = [
    "/account/x.css",
    "/account;x.css",
    "/account%2fx.css",
    "/account%00.css",
    "/account%0a.css",
    "/account%23x.css",
    "/account%3fx.css",
    "/account/.css",
    "/account.css",
    "/account/%2e%2e/static/x.css",
    "/account?x.css",
    "/account?/static/x.css",
    "/account/x.js/..%2fx.css",
]


@pytest.mark.parametrize("target", LOOKS_STATIC)
@pytest.mark.parametrize("says", [{}, {"Cache-Control": "private"}, {"Cache-Control": "no-store"}])
def test_nothing_is_stored_for_its_extension(target: str, says: dict[str, str]) -> None:
    with Origin(lambda request: reply(200, says, (request["cookie"] or "-").encode())) as origin:
        with Proxy(site(origin)) as proxy:
            victim = proxy.get(target, {"Cookie": "id=victim"})
            attacker = proxy.get(target)
            assert b"victim" not in attacker.body
            assert victim.status in (200, 400)
            assert not is_hit(attacker) if attacker.status == 200 else origin.count() == 0


ROUTES = [
    # the static route gives everything a lifetime, the other one nothing
    {"match": {"host": [HOST], "path": "/static/*"}, "origin": "app", "cache": {"override_ttl": "1h"}},
    {"match": {"host": [HOST], "path": "/*"}, "origin": "app", "cache": False},
]

ESCAPES = [
    "/static/../account",
    "/static/%2e%2e/account",
    "/static/.%2e/account",
    "/static/%2E./account",
    "/static/./../account",
    "/static/x/../../account",
    "/static//../../account",
    "/static/..%2faccount",
    "/static/..%2Faccount",
    "/static/%2e%2e%2faccount",
    "/static/..%5caccount",
    "/static/..\\account",
    "/static%2f..%2faccount",
    "/static/..;/account",
    "/static/..%3b/account",
    "/static/..%00/account",
    "/static/%252e%252e/account",
    "/%73tatic/../account",
    "/STATIC/../account",
    "/static/..",
    "/static/.",
]


def decoding_origin(request: Request) -> Reply:
    """As lax as an origin can be: decodes once more, takes `\\` for `/` and drops `;` parameters before it
    resolves."""
    path = unquote(request.target.partition("?")[0]).replace("\\", "/")
    path = normpath("/".join(part.partition(";")[0] for part in path.split("/")))
    return reply(
        200, None, b"account of " + (request["cookie"] or "-").encode() if path == "/account" else b"file"
    )


@pytest.mark.parametrize("target", ESCAPES)
def test_the_route_is_chosen_by_the_path_that_the_origin_gets(target: str) -> None:
    """Dots are resolved before the match, so what arrives as a plain /account was matched as /account.

    Escaped slashes stay escaped, in the match as at the origin: an origin that decodes them itself is told so
    by the path it gets, and the account of one is still no file of /static/ for another unless it says so.
    """
    with Origin(decoding_origin) as origin, Proxy(site(origin, routes=ROUTES)) as proxy:
        proxy.get(target, {"Cookie": "id=victim"})
        for request in list(origin.requests):
            assert "/../" not in request.target
            assert "/./" not in request.target
            assert not request.target.endswith(("/..", "/."))
            if request.target == "/account":
                with proxy.outcomes(hit=0):
                    assert proxy.get(target).body == b"account of -"


def test_the_same_path_written_differently_is_one_key() -> None:
    spellings = [
        "/static/a-b",
        "/static/%61-b",
        "/static/a%2Db",
        "/static/./a-b",
        "/static/x/../a-b",
        "/%73tatic/a-b",
    ]
    with Origin(reply(200, None, b"file")) as origin, Proxy(site(origin, routes=ROUTES)) as proxy:
        for spelling in spellings:
            assert proxy.get(spelling).body == b"file"
        assert origin.count() == 1
