"""Routes with codings, responses that are filed under names, origins that go by the key: down both lanes."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import Any

import pytest

from tests.harness import Origin, Reply, reply, site
from tests.harness.proxy import Proxy
from tests.harness.wire import Closed
from tests.proxy.lanes import NOW, WARM, Ask, both, lines
from tests.scenarios.test_a07_groups_and_tags import purge

# --- tags ---

TAGS: dict[str, list[tuple[str, str]]] = {
    "cache-tag": [("Cache-Tag", "one, two")],
    "surrogate-key": [("Surrogate-Key", "one two three")],
    "both": [("Surrogate-Key", "one two"), ("Cache-Tag", "two, three")],
    "in two lines": [("Cache-Tag", "one"), ("cache-tag", "two")],
    "none": [("Cache-Tag", " , ")],
    "long": [("Cache-Tag", "a" * 2000), ("Surrogate-Key", "b")],
    "many": [("Surrogate-Key", " ".join(f"t{n}" for n in range(400)))],
    "groups": [("Cache-Groups", '"one", "two"')],
    "malformed groups": [("Cache-Groups", "one")],
    "and varies": [("Cache-Tag", "one"), ("Vary", "Accept-Encoding")],
}


@pytest.mark.parametrize("name", TAGS)
def test_tagged(name: str) -> None:
    def rule(request: Any) -> Reply:
        own = [("Cache-Tag", f"own-{request.target}")] if request.target > "/c" else []
        return reply(200, [("Cache-Control", "max-age=60"), *TAGS[name], *own], b"hello")

    asks = [Ask(path) for path in ("/a", "/b", "/a", "/d", "/e", "/d")]
    both(rule, asks, fill=4)


def test_now_with_and_now_without() -> None:
    def rule(request: Any) -> Reply:
        return reply(200, {"Cache-Control": "max-age=60", "Cache-Tag": request.target[1:].strip("-")}, b"x")

    both(rule, [Ask(path) for path in ("/--", "/a", "/---", "/b", "/-")], fill=5)
    both(rule, [Ask(path) for path in ("/a", "/--", "/b", "/---")], fill=4)


def test_groups_are_their_origins_own() -> None:
    with Origin(
        lambda request: reply(200, {"Cache-Control": "max-age=60", "Cache-Groups": '"g"'}, b"x")
    ) as origin:
        tree = site(origin, routes=[{"match": {"path": "/*"}, "origin": "app", "cache": {}}])
        with Proxy(tree) as proxy, proxy.client() as client:
            client.ask("POST", WARM)
            hosts = ("a.test", "b.test")
            with proxy.lanes(fill=2):
                for host in hosts:
                    client.ask("GET", "/a", {"Host": host})
            origin.rule = lambda request: reply(200, {"Cache-Group-Invalidation": '"g"'})
            client.ask("POST", "/b", {"Host": "a.test"})
            seen = [client.ask("GET", "/a", {"Host": host})["cache-status"] for host in hosts]
            assert ["hit" in (status or "") for status in seen] == [False, True]


def test_a_purge_by_tag_reaches_them() -> None:
    def rule(request: Any) -> Reply:
        return reply(200, {"Cache-Control": "max-age=60", "Cache-Tag": f"all, {request.target[1:]}"}, b"x")

    with Origin(rule) as origin, Proxy(site(origin)) as proxy, proxy.client() as client:
        client.ask("POST", WARM)
        with proxy.lanes(fill=3):
            for path in ("/a", "/b", "/c"):
                client.get(path)
        purge(proxy, tags=["b"])
        hits = ["hit" in (client.get(path)["cache-status"] or "") for path in ("/a", "/b", "/c")]
        assert hits == [True, False, True]


# --- edits of responses ---

EDITS: dict[str, dict[str, Any]] = {
    "set": {"set": {"X-Frame-Options": "DENY", "X-B": "1"}},
    "remove": {"remove": ["Server", "X-Powered-By"]},
    "both": {"set": {"Server": "edge"}, "remove": ["X-Powered-By"]},
    "what it is validated by": {
        "remove": ["ETag"],
        "set": {"Last-Modified": "Mon, 21 Sep 2026 14:13:20 GMT"},
    },
    "tags and Vary": {"remove": ["Cache-Tag", "Vary", "Cache-Control"]},
}


@pytest.mark.parametrize("name", EDITS)
def test_edits(name: str) -> None:
    kinds: list[dict[str, str]] = [
        {"Server": "s", "X-A": "b"},
        {"X-A": "b", "ETag": '"e"', "Cache-Tag": "one, two"},
        {"Server": "s", "X-Frame-Options": "DENY", "X-Powered-By": "p", "Vary": "Accept-Encoding"},
        {"X-Frame-Options": "SAMEORIGIN", "Age": "3", "Server": "edge"},
        {"Date": "Tue, 22 Sep 2026 14:13:10 GMT", "Server": "s", "Keep-Alive": "timeout=5", "X-B": "1"},
        {"X-B": "2"},
    ]

    def rule(request: Any) -> Reply:
        fields = {"Cache-Control": "max-age=60", **kinds[int(request.target[1:]) % len(kinds)]}
        return reply(200, fields, request.target.encode())

    def tree(origin: Origin) -> dict[str, Any]:
        return site(origin, route={"headers": {"response": EDITS[name]}})

    asks = [Ask(f"/{n}") for n in range(3 * len(kinds))]
    both(rule, [*asks, *asks], tree, fill=len(asks), step=7)


# --- routes with codings ---

LONG = b"the quick brown fox " * 400
CODED: dict[str, tuple[Reply, int]] = {
    "another type": (reply(200, {"Cache-Control": "max-age=60", "Content-Type": "image/png"}, LONG), 2),
    "no type": (reply(200, {"Cache-Control": "max-age=60"}, LONG), 2),
    "short": (reply(200, {"Cache-Control": "max-age=60", "Content-Type": "text/html"}, b"short"), 2),
    "empty": (reply(200, {"Cache-Control": "max-age=60", "Content-Type": "text/html"}, b""), 2),
    "to be coded": (reply(200, {"Cache-Control": "max-age=60", "Content-Type": "text/html"}, LONG), 0),
    "chunks to be coded": (
        reply(200, {"Cache-Control": "max-age=60", "Content-Type": "text/html"}, b"short", framing="chunked"),
        0,
    ),
    "chunks of another type": (
        reply(200, {"Cache-Control": "max-age=60", "Content-Type": "image/png"}, LONG, framing="chunked"),
        2,
    ),
    "coded by its origin": (
        reply(
            200,
            {
                "Cache-Control": "max-age=60",
                "Content-Type": "text/html",
                "Content-Encoding": "gzip",
                "Vary": "Accept-Encoding",
                "ETag": '"e"',
            },
            b"x" * 3000,
        ),
        8,
    ),
    "coded, without Vary": (
        reply(
            200,
            {"Cache-Control": "max-age=60", "Content-Encoding": "gzip", "Content-Type": "text/html"},
            b"x" * 3000,
        ),
        0,
    ),
    "not to be transformed": (
        reply(200, {"Cache-Control": "max-age=60, no-transform", "Content-Type": "text/html"}, LONG),
        2,
    ),
    "not stored": (reply(200, {"Cache-Control": "no-store", "Content-Type": "text/html"}, LONG), 14),
    "not found": (reply(404, {"Cache-Control": "max-age=60", "Content-Type": "text/plain"}, b"gone"), 2),
    "nothing": (reply(204, {"Cache-Control": "max-age=60", "Content-Type": "text/plain"}), 2),
}
CLIENTS = ["gzip", "br, gzip", "gzip, br;q=0.5", "", None, "deflate", "gzip"]


@pytest.mark.parametrize("name", CODED)
def test_codings(name: str) -> None:
    answer, taken = CODED[name]
    asks = [
        Ask(path, fields={} if value is None else {"Accept-Encoding": value})
        for path in ("/a", "/b")
        for value in CLIENTS
    ]

    def tree(origin: Origin) -> dict[str, Any]:
        return site(origin, route={"compress": ["br", "gzip"]})

    both(lambda request: answer, asks, tree, fill=taken)


@pytest.mark.parametrize("name", [*CODED, "without a length", "of two lengths", "not modified", "part"])
def test_heads_where_there_are_codings(name: str) -> None:
    """They say what a GET would be given: where that would be coded, the rules say how, in either lane."""
    kind = {"Cache-Control": "max-age=60", "Content-Type": "text/html", "ETag": '"e"'}
    more = {
        "without a length": reply(200, kind, LONG, framing="chunked"),
        "of two lengths": reply(200, [*kind.items(), ("Content-Length", "8000")], LONG),
        "not modified": reply(304, kind),
        "part": reply(206, {**kind, "Content-Range": "bytes 0-4/9"}, b"hello"),
    }
    answer = more[name] if name in more else CODED[name][0]
    asks = [
        Ask(path, "HEAD", {} if value is None else {"Accept-Encoding": value})
        for path in ("/a", "/b")
        for value in CLIENTS
    ]

    def tree(origin: Origin) -> dict[str, Any]:
        return site(origin, route={"compress": ["br", "gzip"]})

    seen = both(lambda request: answer, asks, tree)
    assert seen.stats["lanes"]["fill"] == len(asks)


def test_a_fault_of_ours_leaves_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client hung, and so did whoever asked for the same."""

    def broken(*_: Any) -> Any:
        raise RuntimeError("a fault of ours")

    answer = reply(200, {"Cache-Control": "no-store", "Content-Type": "text/html"}, LONG)
    with Origin(lambda request: answer) as origin, Proxy(site(origin, route={"compress": ["gzip"]})) as proxy:
        with proxy.client() as client:
            assert client.ask("GET", "/a").status == 200
            with monkeypatch.context() as patched:
                patched.setattr("cdn.proxy.filling.told", broken)
                with pytest.raises(Closed):
                    client.ask("HEAD", "/b", {"Accept-Encoding": "gzip"})
            assert "a fault of ours" in proxy.loop_errors.pop()
            assert proxy.ask("HEAD", "/b", {"Accept-Encoding": "gzip"}).status == 200


def test_one_kind_of_response_and_all_kinds_of_clients() -> None:
    """What is said of one must not be believed of the next: type, length and client each make a difference."""
    kinds = ["image/png", "text/html", "text/html; charset=utf-8", "application/json"]
    bodies = [b"short", LONG]

    def rule(request: Any) -> Reply:
        n = int(request.target[1:])
        return reply(200, {"Cache-Control": "max-age=60", "Content-Type": kinds[n % 4]}, bodies[n // 4 % 2])

    asks = [
        Ask(f"/{n}", fields=[("Accept-Encoding", value), ("X", "y"), ("accept-encoding", "identity")])
        for value in ("gzip", "br", "zstd")
        for n in range(8)
    ] + [Ask(f"/{n + 8}") for n in range(8)]

    def tree(origin: Origin) -> dict[str, Any]:
        return site(origin, route={"compress": ["br", "gzip"], "headers": {"request": {"set": {"X-A": "1"}}}})

    both(rule, asks, tree)


def test_an_edit_of_the_encoding_stays_the_last_word() -> None:
    def tree(origin: Origin) -> dict[str, Any]:
        edits = {"request": {"set": {"Accept-Encoding": "identity"}}}
        return site(origin, route={"compress": ["gzip"], "headers": edits})

    answer = reply(200, {"Cache-Control": "max-age=60", "Content-Type": "image/png"}, LONG)
    seen = both(lambda request: answer, [Ask(fields={"Accept-Encoding": "gzip"}), Ask("/b")], tree, fill=2)
    assert all(
        [value for name, value in fields if name == "Accept-Encoding"] == ["identity"]
        for _, _, fields in seen.asked
    )


# --- by the key ---


def by_key(lane: bool, asks: list[Ask], route: dict[str, Any], broken: str) -> dict[str, Any]:
    """Three servers by hash, warm; `broken`: what one of them does with each request then."""
    asked: list[tuple[int, str, str]] = []

    def rule(number: int) -> Any:
        def answer(request: Any) -> Any:
            if request.target.startswith(WARM):
                return reply(200, {"Cache-Control": "no-store"}, b"warm")
            asked.append((number, request.method, request.target))
            if number == 1 and broken:
                if broken == "half":
                    request.conn.send(b"H")
                elif broken == "silent":
                    time.sleep(0.5)
                request.conn.close()
                return None
            return reply(200, {"Cache-Control": "max-age=60", "Vary": "Accept-Encoding"}, b"%d" % number)

        return answer

    with ExitStack() as stack:
        origins = [stack.enter_context(Origin(rule(n))) for n in range(3)]
        tree = site(origins[0], route=route)
        app = {
            "servers": [one.url for one in origins],
            "balance": "hash",
            "timeouts": {"first_byte": "150ms"},
        }
        tree["origins"]["app"] |= app
        proxy = stack.enter_context(Proxy(tree))
        proxy.clock.advance(NOW - proxy.clock.now())
        # what a server is called by decides what it gets, and its port is another one in each run
        upstream = proxy._worker.site.origins.upstream("app")
        for number, server in enumerate(upstream.servers):
            server.seed = number * 0x9E3779B97F4A7C15 & (1 << 64) - 1
        proxy._worker.fill_lane.enabled = False
        for n in range(24):
            proxy.ask("GET", f"{WARM}/{n}")
        proxy._worker.fill_lane.enabled = lane
        with proxy.client() as client:
            answers = [client.ask(ask.method, ask.target, ask.fields) for ask in asks]
        return {
            "answers": [
                (a.status, [f for f in a.fields if f[0] != "X-Request-Id"], len(a.body)) for a in answers
            ],
            "asked": asked,
            "log": lines(proxy.log(24 + len(asks))[24:], {"duration_us", "origin", "origin_first_byte_us"}),
            "fill": proxy.stats()["lanes"]["fill"],
        }


@pytest.mark.parametrize("broken", ["", "half", "closes", "silent"])
@pytest.mark.parametrize("route", [{}, {"cache": False}, {"cache": {"key": {"query": {"ignore": ["u*"]}}}}])
def test_by_the_key(route: dict[str, Any], broken: str) -> None:
    asks = [
        Ask(f"/{n}?u={n}", method, {"Accept-Encoding": value})
        for n in range(6)
        for method, value in (("GET", "gzip"), ("GET", "br"), ("HEAD", "zstd"))
    ]
    general, lane = (by_key(lane, asks, route, broken) for lane in (False, True))
    taken = lane.pop("fill")
    assert general.pop("fill") == 0
    assert lane == general
    if not broken:
        assert taken == len(asks)
        assert len({number for number, _, _ in lane["asked"]}) > 1
    else:
        assert taken > 0
