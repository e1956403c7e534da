"""The fill lane takes what it should, and gives the bytes that the general lane gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.harness import Origin, Reply, fresh, reply, site
from tests.proxy.lanes import Ask, both

Rule = Callable[[Any], Reply]


def off(origin: Origin) -> dict[str, Any]:
    return site(origin, route={"cache": False})


def always(answer: Reply) -> Rule:
    return lambda request: answer


BROWSER = [
    ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64)"),
    ("Accept", "text/html,application/xhtml+xml;q=0.9"),
    ("Accept-Encoding", "gzip, br"),
    ("Accept-Language", "de,en;q=0.7"),
    ("Referer", "http://site.test/"),
    ("Connection", "keep-alive"),
    ("Cookie", "a=b; c=d"),
    ("Upgrade-Insecure-Requests", "1"),
    ("Sec-Fetch-Mode", "navigate"),
    ("sec-ch-ua", '"x";v="1"'),
]
# What an untrusted client may say, and a hop-by-hop field.
ODD = [
    ("X-Forwarded-For", "9.9.9.9"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Anything", "x"),
    ("Forwarded", "for=9.9.9.9"),
    ("X-Real-IP", "9.9.9.9"),
    ("X-Original-URL", "/admin"),
    ("X-HTTP-Method-Override", "DELETE"),
    ("TE", "trailers"),
    ("Keep-Alive", "timeout=5"),
    ("Proxy-Authorization", "Basic x"),
    ("X-Other", "kept"),
    ("Via", "1.0 before"),
    ("CDN-Loop", "somebody; x=1"),
]
HOP = {
    "Keep-Alive": "timeout=1",
    "Proxy-Authenticate": "x",
    "X-One": "1",
    "Connection": "keep-alive",
    "Date": "Tue, 22 Sep 2026 14:13:20 GMT",
}

PASSES: dict[str, tuple[Rule, list[Ask]]] = {
    "plain": (always(reply(200, {"X-A": "b"}, b"hello")), [Ask("/a"), Ask("/a")]),
    "query": (always(reply(200, {}, b"x")), [Ask("/a%7eb/./c?x=1&y"), Ask("/a?"), Ask("/?a=%20")]),
    "empty": (always(reply(200, {}, b"")), [Ask(), Ask()]),
    "head": (always(reply(200, {"X-A": "b"}, b"hello")), [Ask(method="HEAD"), Ask(), Ask(method="HEAD")]),
    "head of chunks": (always(reply(200, {}, b"x", framing="chunked")), [Ask(method="HEAD"), Ask()]),
    "chunked": (always(reply(200, {}, b"c" * 3000, framing="chunked")), [Ask(), Ask()]),
    "trailers": (
        always(reply(200, {}, b"c", framing="chunked", trailers={"X-T": "1"})),
        [Ask(), Ask()],
    ),
    "no content": (always(reply(204, {"X-A": "b"})), [Ask(), Ask()]),
    "not modified": (always(reply(304, {"ETag": '"x"'})), [Ask(fields={"If-None-Match": '"x"'}), Ask()]),
    "part": (
        always(reply(206, {"Content-Range": "bytes 0-1/9"}, b"ab")),
        [Ask(fields={"Range": "bytes=0-1"})],
    ),
    "error": (always(reply(503, {"Retry-After": "1"}, b"no")), [Ask(), Ask()]),
    "browser": (always(reply(200, HOP, b"hop")), [Ask(fields=BROWSER), Ask(fields=BROWSER)]),
    "odd": (always(reply(200, {}, b"x")), [Ask(fields=ODD), Ask(), Ask(fields=ODD)]),
    "large": (always(reply(200, {}, b"0123456789abcdef" * 40_000)), [Ask(), Ask()]),
    "unknown status": (always(reply(299, {}, b"x")), [Ask(), Ask()]),
    "directives": (
        always(reply(200, {"Cache-Control": "max-age=9"}, b"x")),
        [Ask(fields={"Cache-Control": "no-cache", "Pragma": "no-cache"})],
    ),
}


@pytest.mark.parametrize("name", PASSES)
def test_passes(name: str) -> None:
    rule, asks = PASSES[name]
    both(rule, asks, off, fill=len(asks))


DATED = {"Date": "Tue, 22 Sep 2026 14:13:10 GMT"}
MISSES: dict[str, tuple[Rule, list[Ask], int]] = {
    "stored": (always(fresh(60, b"body", etag='"e"')), [Ask("/a"), Ask("/b"), Ask("/a"), Ask("/b")], 2),
    "query": (always(fresh(60, b"body")), [Ask("/a?x=1"), Ask("/a?x=2")], 2),
    "empty": (always(fresh(60, b"")), [Ask("/a"), Ask("/a")], 1),
    "no content": (always(reply(204, {"Cache-Control": "max-age=60"})), [Ask("/a"), Ask("/b"), Ask("/a")], 2),
    "no store": (
        always(reply(200, {"Cache-Control": "no-store"}, b"x")),
        [Ask("/a"), Ask("/a"), Ask("/b")],
        3,
    ),
    "private": (always(reply(200, {"Cache-Control": "private, max-age=9"}, b"x")), [Ask("/a"), Ask("/b")], 2),
    "cookie": (
        always(reply(200, {"Cache-Control": "max-age=60", "Set-Cookie": "a=b"}, b"x")),
        [Ask("/a"), Ask("/b")],
        2,
    ),
    "public cookie": (
        always(reply(200, {"Cache-Control": "public, max-age=60", "Set-Cookie": "a=b"}, b"x")),
        [Ask("/a"), Ask("/b"), Ask("/a")],
        2,
    ),
    "credentials": (
        always(fresh(60, b"x")),
        [Ask("/a", fields={"Authorization": "Basic x"}), Ask("/a"), Ask("/a")],
        2,
    ),
    "allowed credentials": (
        always(reply(200, {"Cache-Control": "s-maxage=60"}, b"x")),
        [Ask("/a", fields={"Authorization": "Basic x"}), Ask("/b"), Ask("/a")],
        2,
    ),
    "dated": (always(fresh(60, b"x", **DATED)), [Ask("/a"), Ask("/b"), Ask("/a")], 2),
    "old": (always(fresh(5, b"x", age="10", **DATED)), [Ask("/a"), Ask("/b")], 2),
    "aged": (always(fresh(60, b"x", age="10")), [Ask("/a"), Ask("/b"), Ask("/a")], 2),
    "bad date": (always(fresh(60, b"x", date="yesterday")), [Ask("/a"), Ask("/b")], 2),
    "heuristic": (
        always(reply(200, {"Last-Modified": "Mon, 21 Sep 2026 14:13:20 GMT", **DATED}, b"x")),
        [Ask("/a"), Ask("/b"), Ask("/a")],
        2,
    ),
    "expires": (
        always(reply(200, {"Expires": "Tue, 22 Sep 2026 14:23:20 GMT", **DATED}, b"x")),
        [Ask("/a"), Ask("/b"), Ask("/a")],
        2,
    ),
    "nothing said": (always(reply(200, {}, b"x")), [Ask("/a"), Ask("/a"), Ask("/b")], 3),
    "validator only": (always(reply(200, {"ETag": '"x"'}, b"x")), [Ask("/a"), Ask("/b")], 2),
    "hop by hop": (
        always(reply(200, {"Cache-Control": "max-age=60", **HOP}, b"x")),
        [Ask("/a"), Ask("/a")],
        1,
    ),
    "not found": (always(reply(404, {"Cache-Control": "max-age=60"}, b"x")), [Ask("/a"), Ask("/b")], 2),
    "error": (always(reply(503, {}, b"x")), [Ask("/a"), Ask("/a"), Ask("/b")], 3),
    "redirect": (always(reply(301, {"Location": "/x"}, b"")), [Ask("/a"), Ask("/b")], 2),
    "browser": (always(fresh(60, b"x")), [Ask("/a", fields=BROWSER), Ask("/b", fields=BROWSER)], 2),
    "odd": (always(fresh(60, b"x")), [Ask("/a", fields=ODD), Ask("/b", fields=ODD)], 2),
    "medium": (always(fresh(60, b"0123456789" * 10_000)), [Ask("/a"), Ask("/b"), Ask("/a")], 2),
    "chunked": (
        always(reply(200, {"Cache-Control": "max-age=60"}, b"x", framing="chunked")),
        [Ask("/a"), Ask("/b"), Ask("/a"), Ask("/c")],
        3,
    ),
    "chunked and closing": (
        always(reply(200, {"Cache-Control": "max-age=60"}, b"x", framing="chunked")),
        [Ask("/a"), Ask("/b", fields={"Connection": "close"})],
        2,
    ),
    "no chunks": (
        always(reply(200, {"Cache-Control": "max-age=60"}, b"", framing="chunked")),
        [Ask("/a"), Ask("/b"), Ask("/a")],
        2,
    ),
    "chunked and aged": (
        always(reply(200, {"Cache-Control": "max-age=60", "Age": "9"}, b"x" * 3000, framing="chunked")),
        [Ask("/a"), Ask("/b"), Ask("/a")],
        2,
    ),
    "chunked with trailers": (
        always(
            reply(
                200,
                {"Cache-Control": "max-age=60", "ETag": '"e"', "Trailer": "X-T"},
                b"x" * 100_000,
                framing="chunked",
                trailers={"X-T": "1", "ETag": '"no"'},
            )
        ),
        [Ask("/a"), Ask("/b"), Ask("/a")],
        2,
    ),
    "chunked, not stored": (
        always(reply(200, {"Cache-Control": "no-store"}, b"x" * 3000, framing="chunked")),
        [Ask("/a"), Ask("/b"), Ask("/a")],
        3,
    ),
    "chunked 404": (
        always(reply(404, {"Cache-Control": "max-age=60"}, b"gone", framing="chunked")),
        [Ask("/a"), Ask("/b"), Ask("/a")],
        2,
    ),
    # The general lane's, with the response in hand:
    "varying": (
        always(fresh(60, b"x", vary="Accept-Encoding")),
        [Ask("/a"), Ask("/a", fields={"Accept-Encoding": "br"}), Ask("/a"), Ask("/b")],
        3,
    ),
    "long": (always(fresh(60, b"0123456789" * 150_000)), [Ask("/a"), Ask("/a")], 0),
    "tagged": (always(fresh(60, b"x", cache_tag="one, two")), [Ask("/a"), Ask("/b"), Ask("/a")], 2),
    "variance": (always(fresh(60, b"x", no_vary_search="params")), [Ask("/a?x"), Ask("/a?y")], 0),
    "listed": (
        always(reply(200, {"Cache-Control": "max-age=60", "Connection": "x-a", "X-A": "1"}, b"x")),
        [Ask("/a"), Ask("/b")],
        0,
    ),
    "qualified": (
        always(reply(200, {"Cache-Control": 'max-age=60, private="x-a"', "X-A": "1"}, b"x")),
        [Ask("/a"), Ask("/b"), Ask("/a")],
        0,
    ),
    "asked for a part": (always(fresh(60, b"x")), [Ask("/a", fields={"Range": "bytes=0-0"})], 0),
    "head": (always(fresh(60, b"x")), [Ask("/a", method="HEAD"), Ask("/a"), Ask("/a", method="HEAD")], 2),
    "a 304 nobody asked for": (always(reply(304, {"ETag": '"x"'})), [Ask("/a")], 0),
}


@pytest.mark.parametrize("name", MISSES)
def test_misses(name: str) -> None:
    rule, asks, taken = MISSES[name]
    both(rule, asks, fill=taken)


ROUTES: dict[str, dict[str, Any]] = {
    "edits": {
        "headers": {
            "request": {
                "set": {"X-Edge": "1", "Accept": "*/*"},
                "remove": ["User-Agent", "X-Forwarded-Host"],
            },
            "response": {"set": {"X-Frame-Options": "DENY", "ETag": '"ours"'}, "remove": ["Server"]},
        }
    },
    "ttl": {"cache": {"ttl": "1h"}},
    "override": {"cache": {"override_ttl": "1h"}},
    "by status": {"cache": {"status_ttl": {404: "10s"}}},
    "windows": {"cache": {"stale_while_revalidate": "60s", "stale_if_error": "1d"}},
    "query": {"cache": {"key": {"query": {"ignore": ["utm_*"], "sort": True}}}},
    "own host": {},
}


@pytest.mark.parametrize("name", ROUTES)
@pytest.mark.parametrize("cached", [True, False])
def test_routes(name: str, cached: bool) -> None:
    answers = {
        "/a": fresh(60, b"a", server="s", vary=""),
        "/b": reply(404, {"Server": "s"}, b"b"),
        "/c": reply(200, {"Last-Modified": "Mon, 21 Sep 2026 14:13:20 GMT", "Server": "s"}, b"c"),
        "/d": reply(200, {"Cache-Control": "no-store"}, b"d"),
    }
    route = dict(ROUTES[name]) if cached else {**ROUTES[name], "cache": False}
    asks = [Ask(path + query, fields=BROWSER) for query in ("", "?b=1&utm_x=2&a=3") for path in answers]

    def tree(origin: Origin) -> dict[str, Any]:
        return site(origin, route=route, origin_host="inner.test:81" if name == "own host" else None)

    both(lambda request: answers[request.target.partition("?")[0]], asks, tree, fill=len(asks), step=3)


@pytest.mark.parametrize("trusted", [True, False])
def test_what_a_trusted_peer_says_goes_on(trusted: bool) -> None:
    def tree(origin: Origin) -> dict[str, Any]:
        more: dict[str, Any] = {"trusted_proxies": ["127.0.0.0/8"]} if trusted else {}
        return site(origin, route={"cache": False}, **more)

    seen = both(always(reply(200, {}, b"x")), [Ask(fields=ODD), Ask(), Ask(fields=BROWSER)], tree, fill=3)
    fields = dict(seen.asked[0][2])
    assert fields["X-Forwarded-For"] == ("9.9.9.9, 127.0.0.1" if trusted else "127.0.0.1")


def test_a_loop_is_refused() -> None:
    loop = {"CDN-Loop": ", ".join(["edge-1"] * 5)}
    seen = both(always(reply(200, {}, b"x")), [Ask(fields=loop), Ask()], off, fill=1)
    assert [answer[0] for answer in seen.answers] == [508, 200]


def test_what_the_lane_leaves_to_others() -> None:
    asks = [
        Ask(fields={"Expect": "100-continue"}),
        Ask(fields={"Connection": "x-a", "X-A": "1"}),
        Ask(fields={"Content-Length": "0"}),
        Ask(fields={"Upgrade": "x", "Connection": "upgrade"}),
        Ask(method="DELETE"),
        Ask(),
    ]
    both(always(reply(200, {}, b"x")), asks, off, fill=1)
