"""What a route's rules pass: the lanes compare, and mean what the rules say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cdn.config.values import Bypass, CachePolicy, Match, Route
from cdn.proxy._routes import RouteTable
from cdn.rules.message import Fields, RequestHead
from cdn.rules.storing import bypass
from tests.harness import Origin, fresh, site
from tests.harness.proxy import Proxy
from tests.proxy.lanes import WARM, Ask, both

PATTERNS = st.lists(
    st.sampled_from(["session", "session*", "s*", "id", "*", "x-a", "x-p*", "a b", "é", '"q"']), max_size=3
)
# Made of what a Cookie field could disguise a name with.
COOKIE = st.lists(
    st.sampled_from(
        [
            "session",
            "sess",
            "ion",
            "id",
            "a",
            "=",
            "=",
            ";",
            "; ",
            ";",
            " ",
            "\t",
            '"',
            ",",
            "",
            "\xe9",
            "S",
            "%73",
            "x",
        ]
    ),
    max_size=10,
).map(lambda parts: "".join(parts).strip(" \t"))
NAME = st.sampled_from(
    ["Cookie", "cookie", "COOKIE", "X-A", "x-ab", "X-P", "x-preview", "Cookie2", "Id", "S"]
)
QUERY = st.none() | st.lists(st.sampled_from(["session", "id", "=", "&", "%73", "%", "x"]), max_size=6).map(
    "".join
)


def route_of(headers: list[str], cookies: list[str], query: list[str]) -> Route:
    policy = replace(CachePolicy(), bypass=Bypass(tuple(headers), tuple(cookies), tuple(query)))
    return Route(0, Match(), "app", cache=policy)


@settings(max_examples=600, deadline=None)
@given(PATTERNS, PATTERNS, PATTERNS, st.lists(st.tuples(NAME, COOKIE), max_size=4), QUERY)
@example([], ["session"], [], [("Cookie", 'a="x; session=1"')], None)
@example([], ["session"], [], [("Cookie", "a=session"), ("cookie", "\tsession ;b")], None)
@example([], ["s*"], [], [("Cookie", ";;=;s")], "")
@example([], ["*"], [], [("Cookie", "")], None)
@example(["x-p*"], [], [], [("X-Preview", "")], None)
@example([], [], ["id"], [], "a=id&%69d")
def test_the_lanes_compare_as_the_rules_say(
    headers: list[str], cookies: list[str], query: list[str], lines: list[tuple[str, str]], asked: str | None
) -> None:
    route = route_of(headers, cookies, query)
    head = "GET / HTTP/1.1\r\nHost: a\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines) + "\r\n"
    request = RequestHead("GET", "http", "a", "/", asked, Fields([("Host", "a"), *lines]))
    said = RouteTable((route,)).passed_by_rule(
        0, head.encode("latin-1"), None if asked is None else asked.encode("latin-1")
    )
    assert route.cache is not None
    assert said == bypass(request, route.cache)


COOKIES: list[list[tuple[str, str]]] = [
    [],
    [("Cookie", "theme=dark; consent=1")],
    [("Cookie", "session=1")],
    [("Cookie", "theme=dark"), ("Cookie", "session_id=2")],
    [("Cookie", 'a="; session=1"')],
    [("Cookie", "theme=session")],
    [("Cookie", "")],
]


@pytest.mark.parametrize("hits", [True, False])
def test_hits_and_misses_beside_a_rule(hits: bool) -> None:
    asks = [
        Ask(path, method, fields)
        for fields in COOKIES
        for path in ("/a", "/b?x=1")
        for method in ("GET", "HEAD")
    ]

    def tree(origin: Origin) -> dict[str, Any]:
        return site(
            origin, {"bypass": {"cookies": ["session*"], "query": ["preview"], "headers": ["x-preview"]}}
        )

    seen = both(lambda request: fresh(60, b"x", etag='"e"'), asks, tree, fill=2 + 3 * 4, hits=hits)
    assert seen.stats["lanes"]["hit"] == len(asks) - 14
    assert seen.stats["lanes"]["general"] == 1


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.lists(st.tuples(NAME, COOKIE), max_size=3), min_size=3, max_size=8), PATTERNS)
def test_any_cookies(requests: list[list[tuple[str, str]]], patterns: list[str]) -> None:
    patterns = [
        name for name in dict.fromkeys(patterns) if name.isascii() and " " not in name and '"' not in name
    ] or ["id"]

    def tree(origin: Origin) -> dict[str, Any]:
        return site(origin, {"bypass": {"cookies": patterns, "headers": ["x-p*"]}})

    both(lambda request: fresh(60, b"x"), [Ask("/a", fields=fields) for fields in requests], tree, hits=False)


def test_a_rule_by_cookie_costs_others_no_lane() -> None:
    tree = {"bypass": {"cookies": ["session*"]}}
    with Origin(fresh(60, b"x")) as origin, Proxy(site(origin, tree)) as proxy, proxy.client() as client:
        client.ask("POST", WARM)
        for _ in range(3):
            client.ask("GET", "/a", {"Cookie": "theme=dark"})
        lanes = proxy.stats()["lanes"]
        assert (lanes["hit"], lanes["fill"], lanes["general"]) == (2, 1, 1)


def test_what_a_worker_whose_clock_is_ahead_has_just_stored_is_a_hit() -> None:
    """Each worker reads the wall clock once: what one had stored within that difference the others declined."""
    with (
        Origin(lambda request: fresh(60, b"x")) as origin,
        Proxy(site(origin)) as proxy,
        proxy.client() as client,
    ):
        client.get("/a")
        proxy.clock.advance(-3)
        with proxy.lanes(hit=1):
            hit = client.get("/a")
        proxy._worker.lane.enabled = False
        with proxy.lanes(general=1):
            general = client.get("/a")
        assert (hit.fields, hit.body) == (general.fields, general.body)
        assert hit["age"] == "0"
