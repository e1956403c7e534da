"""What a route's configuration changes: bypass, lifetimes, keys, header edits."""

from __future__ import annotations

import pytest

from tests.harness import HOST, Origin, Reply, Request, fresh, reply, site
from tests.harness.proxy import Proxy, is_hit, ours


def test_cache_off_passes_everything() -> None:
    with Origin(fresh(60)) as origin, Proxy(site(origin, False)) as proxy:
        with proxy.outcomes(**{"pass": 2}):
            for _ in range(2):
                assert proxy.get("/a").body == b"body"
        assert origin.count() == 2


def test_a_bypass_cookie_passes_and_is_not_stored() -> None:
    with Origin(lambda request: fresh(60, (request["cookie"] or "-").encode())) as origin:
        with Proxy(site(origin, {"bypass": {"cookies": ["session*"]}})) as proxy:
            for _ in range(2):
                mine = proxy.get("/a", {"Cookie": "a=1; session_id=42"})
                assert mine.body == b"a=1; session_id=42"
                assert ours(mine)["fwd"] == "bypass"
            assert proxy.get("/a").body == b"-"
            assert is_hit(proxy.get("/a", {"Cookie": "sess=1; theme=session"}))
            assert proxy.get("/a", {"Cookie": "session_id=42"}).body == b"session_id=42"


@pytest.mark.parametrize(
    ("bypass", "target", "fields"),
    [
        ({"headers": ["X-Debug"]}, "/a", {"x-debug": "1"}),
        ({"query": ["preview"]}, "/a?preview=1", None),
        ({"query": ["preview"]}, "/a?x=1&preview", None),
    ],
)
def test_other_bypasses(bypass: dict[str, list[str]], target: str, fields: dict[str, str] | None) -> None:
    with Origin(fresh(60)) as origin, Proxy(site(origin, {"bypass": bypass})) as proxy:
        for _ in range(2):
            proxy.get(target, fields)
        assert origin.count() == 2
        proxy.get("/a?previews=1")
        proxy.get("/a?previews=1")
        assert origin.count() == 3


def test_ttl_counts_only_where_the_response_says_nothing() -> None:
    answers = {
        "/silent": reply(200, body=b"s"),
        "/short": fresh(5, b"s"),
        "/never": reply(200, {"Cache-Control": "no-store"}),
    }
    with Origin(answers) as origin, Proxy(site(origin, {"ttl": "60s"})) as proxy:
        for target in answers:
            proxy.get(target)
        proxy.advance(30)
        for target in answers:
            proxy.get(target)
        assert [origin.count(target) for target in answers] == [1, 2, 2]


def test_override_ttl_counts_whatever_the_response_says() -> None:
    answers = {"/silent": reply(200, body=b"s"), "/short": fresh(5, b"s"), "/long": fresh(600, b"s")}
    with Origin(answers) as origin, Proxy(site(origin, {"override_ttl": "60s"})) as proxy:
        for target in answers:
            proxy.get(target)
        proxy.advance(30)
        for target in answers:
            assert is_hit(proxy.get(target))
        proxy.advance(31)
        for target in answers:
            assert not is_hit(proxy.get(target))


def test_status_ttl_remembers_what_is_missing() -> None:
    with (
        Origin(reply(404, body=b"gone")) as origin,
        Proxy(site(origin, {"status_ttl": {404: "10s"}})) as proxy,
    ):
        assert proxy.get("/a").status == 404
        proxy.advance(9)
        assert is_hit(proxy.get("/a"))
        proxy.advance(2)
        assert proxy.get("/a").status == 404
        assert origin.count() == 2


def test_ignored_parameters_are_neither_in_the_key_nor_at_the_origin() -> None:
    cache = {"key": {"query": {"ignore": ["utm_*", "fbclid"]}}}
    with (
        Origin(lambda request: fresh(60, request.target.encode())) as origin,
        Proxy(site(origin, cache)) as proxy,
    ):
        assert proxy.get("/p?utm_source=x&a=1&fbclid=2").body == b"/p?a=1"
        assert is_hit(proxy.get("/p?a=1"))
        assert is_hit(proxy.get("/p?a=1&utm_medium=y"))
        assert not is_hit(proxy.get("/p?a=2&utm_medium=y"))
        assert proxy.get("/q?utm_source=x").body == b"/q"
        assert [request.target for request in origin.requests] == ["/p?a=1", "/p?a=2", "/q"]


def test_sorted_parameters() -> None:
    cache = {"key": {"query": {"sort": True}}}
    with (
        Origin(lambda request: fresh(60, request.target.encode())) as origin,
        Proxy(site(origin, cache)) as proxy,
    ):
        assert proxy.get("/p?b=2&a=1").body == b"/p?a=1&b=2"
        assert is_hit(proxy.get("/p?a=1&b=2"))
        assert origin.count() == 1


def test_only_some_parameters() -> None:
    cache = {"key": {"query": {"only": ["id"]}}}
    with (
        Origin(lambda request: fresh(60, request.target.encode())) as origin,
        Proxy(site(origin, cache)) as proxy,
    ):
        assert proxy.get("/p?x=2&id=1&y").body == b"/p?id=1"
        assert is_hit(proxy.get("/p?id=1&z=9"))
        assert origin.count() == 1


def test_fields_and_cookies_in_the_key() -> None:
    cache = {"key": {"headers": ["X-Device"], "cookies": ["lang"]}}

    def shown(request: Request) -> Reply:
        return fresh(60, f"{request['x-device']}/{request['cookie']}".encode())

    with Origin(shown) as origin, Proxy(site(origin, cache)) as proxy:
        phone = {"X-Device": "phone", "Cookie": "lang=de; other=1"}
        assert proxy.get("/a", phone).body == b"phone/lang=de; other=1"
        assert is_hit(proxy.get("/a", {"X-Device": "phone", "Cookie": "other=2; lang=de"}))
        assert not is_hit(proxy.get("/a", {"X-Device": "desk", "Cookie": "lang=de"}))
        assert not is_hit(proxy.get("/a", {"X-Device": "phone", "Cookie": "lang=fr"}))
        assert origin.count() == 3


def test_header_edits_on_miss_and_hit() -> None:
    edits = {
        "request": {"set": {"X-Edge": "edge-1"}, "remove": ["X-Secret"]},
        "response": {"set": {"X-Frame-Options": "DENY"}, "remove": ["Server"]},
    }
    answer = fresh(60, server="nginx", x_frame_options="ALLOW")
    with Origin(answer) as origin, Proxy(site(origin, route={"headers": edits})) as proxy:
        for _ in range(2):
            got = proxy.get("/a", {"X-Secret": "1", "X-Edge": "forged"})
            assert got.all("x-frame-options") == ["DENY"]
            assert "server" not in got
        assert origin.count() == 1
        assert origin.last.all("x-edge") == ["edge-1"]
        assert "x-secret" not in origin.last


def test_the_first_matching_route_wins() -> None:
    routes = [
        {
            "match": {"host": [HOST], "path": "/static/*", "method": ["GET"]},
            "origin": "app",
            "cache": {"override_ttl": "60s"},
        },
        {"match": {"host": [HOST], "path": "/static/*"}, "origin": "app", "cache": False},
        {"match": {"host": ["*.site.test"], "path": "/*"}, "origin": "app"},
    ]
    with Origin(reply(200, body=b"x")) as origin, Proxy(site(origin, routes=routes)) as proxy:
        assert not is_hit(proxy.get("/static/a"))
        assert is_hit(proxy.get("/static/a"))
        assert proxy.ask("POST", "/static/a").status == 200
        assert proxy.get("/a", host="www.site.test").status == 200
        assert proxy.get("/a").status == 404
        assert proxy.get("/a", host="site.test.evil").status == 421


def test_the_host_sent_to_the_origin() -> None:
    with Origin(reply(200)) as origin:
        with Proxy(site(origin)) as proxy:
            proxy.get("/a", host="SITE.test:80")
            assert origin.last["host"] == "site.test"
        with Proxy(site(origin, origin_host="backend.internal")) as proxy:
            proxy.get("/a")
            assert origin.last.all("host") == ["backend.internal"]
