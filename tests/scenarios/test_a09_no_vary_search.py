"""One stored response for queries that mean the same (draft-ietf-httpbis-no-vary-search-01 §7)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.harness import Origin, Reply, Request, fresh, reply, site
from tests.harness.proxy import Proxy, is_hit, ours

UTM = 'params=("utm" "ref")'


def saying(value: str, seconds: int = 60, **more: str) -> Any:
    def rule(request: Request) -> Reply:
        if request.method == "POST":
            return reply(200)
        return fresh(seconds, request.target.encode(), no_vary_search=value, **more)

    return rule


@pytest.mark.parametrize(
    ("value", "first", "second", "shared"),
    [
        (UTM, "/a?x=1", "/a?x=1&utm=2", True),
        (UTM, "/a?ref=3&x=1", "/a?x=1&utm=2", True),
        (UTM, "/a?utm=1", "/a", True),
        (UTM, "/a?x=1", "/a?x=2", False),
        (UTM, "/a?x=1", "/b?x=1&utm=2", False),
        ("key-order", "/a?x=1&y=2", "/a?y=2&x=1", True),
        ("key-order", "/a?x=1&x=2", "/a?x=2&x=1", False),
        ('except=("id")', "/a?id=1&z=2", "/a?q=7&id=1", True),
        ('except=("id")', "/a?id=1", "/a?id=2", False),
        ("except=()", "/a?x", "/a", True),
        ("params", "/a?x", "/a", False),
        ('params=("x"', "/a?x", "/a", False),
    ],
)
def test_what_is_shared(value: str, first: str, second: str, shared: bool) -> None:
    with Origin(saying(value)) as origin, Proxy(site(origin)) as proxy:
        proxy.get(first)
        answer = proxy.get(second)
        assert is_hit(answer) is shared
        assert answer.body == (first if shared else second).encode()
        assert is_hit(proxy.ask("HEAD", second))
        with proxy.lanes(hit=1):  # its own URL is a plain hit all the same
            assert proxy.get(first).body == first.encode()


def test_ranges_and_conditions_of_a_shared_one() -> None:
    with Origin(saying(UTM, etag='"1"')) as origin, Proxy(site(origin)) as proxy:
        proxy.get("/a?x=1")
        answer = proxy.get("/a?x=1&utm=2", {"Range": "bytes=0-1"})
        assert (answer.status, answer.body) == (206, b"/a")
        assert proxy.get("/a?x=1&utm=2", {"If-None-Match": '"1"'}).status == 304
        assert proxy.get("/a?x=1&utm=2", {"Cache-Control": "only-if-cached"}).status == 200
        assert proxy.get("/a?x=2&utm=2", {"Cache-Control": "only-if-cached"}).status == 504
        assert origin.count() == 1


def test_a_stale_one_is_not_shared_and_nothing_lands_under_another_url() -> None:
    def rule(request: Request) -> Reply:
        assert request["if-none-match"] is None, "validators of another URL's response"
        if request.target == "/a?x=1":
            return fresh(10, b"one", no_vary_search=UTM, etag='"1"')
        return fresh(60, b"other")

    with Origin(rule) as origin, Proxy(site(origin, {"stale_while_revalidate": "1h"})) as proxy:
        proxy.get("/a?x=1")
        proxy.advance(20)
        assert proxy.get("/a?x=1&utm=2").body == b"other"
        assert is_hit(proxy.get("/a?x=1&utm=2"))
        assert proxy.get("/a?x=1&utm=3").body == b"other"  # fetched for itself
        assert origin.count() == 3


def test_the_stored_response_has_the_last_word() -> None:
    says = [UTM]

    def rule(request: Request) -> Reply:
        more = {"no_vary_search": says[0]} if says[0] else {}
        return fresh(10, request.target.encode(), **more)

    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        proxy.get("/a?x=1")
        proxy.advance(20)
        says[0] = ""
        proxy.get("/a?x=1")  # the same URL, without the field now
        assert not is_hit(proxy.get("/a?x=1&utm=2"))


def test_another_value_on_the_same_path() -> None:
    def rule(request: Request) -> Reply:
        said = UTM if "x" in request.target else 'params=("q")'
        return fresh(60, request.target.encode(), no_vary_search=said)

    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        proxy.get("/a?x=1")
        proxy.get("/a?y=1")
        assert is_hit(proxy.get("/a?y=1&q=1"))
        assert not is_hit(proxy.get("/a?x=1&utm=2"))  # missed: a newer response says otherwise
        assert is_hit(proxy.get("/a?x=1&utm=3"))  # and found from then on
        assert is_hit(proxy.get("/a?x=1"))


def test_vary_and_the_routes_key_still_part() -> None:
    cache = {"key": {"headers": ["x-site"]}}
    with Origin(saying(UTM, vary="X-Size")) as origin, Proxy(site(origin, cache)) as proxy:
        proxy.get("/a?x=1", {"X-Site": "a", "X-Size": "s"})
        assert is_hit(proxy.get("/a?x=1&utm=1", {"X-Site": "a", "X-Size": "s"}))
        assert not is_hit(proxy.get("/a?x=1&utm=2", {"X-Site": "a", "X-Size": "l"}))
        assert not is_hit(proxy.get("/a?x=1&utm=3", {"X-Site": "b", "X-Size": "s"}))
        assert origin.count() == 3


def test_contents_of_queries_still_part() -> None:
    def rule(request: Request) -> Reply:
        return fresh(60, request.body, no_vary_search=UTM)

    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        proxy.ask("QUERY", "/a?x=1", None, b"one")
        assert proxy.ask("QUERY", "/a?x=1&utm=1", None, b"two").body == b"two"
        answer = proxy.ask("QUERY", "/a?x=1&utm=2", None, b"one")
        assert (answer.body, is_hit(answer)) == (b"one", True)
        assert not is_hit(proxy.get("/a?x=1&utm=3"))
        assert origin.count() == 3


def test_a_purge_of_one_url_reaches_what_answers_it() -> None:
    with Origin(saying(UTM)) as origin, Proxy(site(origin)) as proxy:
        proxy.get("/a?x=1")
        assert is_hit(proxy.get("/a?x=1&utm=2"))
        proxy.ask("POST", "/a?utm=9&x=1")
        assert not is_hit(proxy.get("/a?x=1&utm=2"))
        assert is_hit(proxy.get("/a?x=1"))  # by what was fetched just now
        assert origin.count(method="GET") == 2


def test_ignored_parameters_of_the_route_come_first() -> None:
    cache = {"key": {"query": {"ignore": ["fbclid"]}}}
    with Origin(saying("key-order")) as origin, Proxy(site(origin, cache)) as proxy:
        proxy.get("/a?x=1&y=2&fbclid=3")
        assert is_hit(proxy.get("/a?y=2&fbclid=4&x=1"))
        assert origin.last.target == "/a?x=1&y=2"


def test_it_is_said_in_cache_status() -> None:
    with Origin(saying(UTM)) as origin, Proxy(site(origin)) as proxy:
        proxy.get("/a?x=1")
        proxy.advance(7)
        answer = proxy.get("/a?x=1&utm=2")
        assert ours(answer)["ttl"] == "53"
        assert answer["age"] == "7"
        assert answer["no-vary-search"] == UTM


def test_uncacheable_answers_teach_nothing() -> None:
    def rule(request: Request) -> Reply:
        return reply(
            200, {"Cache-Control": "private", "No-Vary-Search": "except=()"}, request.target.encode()
        )

    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        for target in ("/a?1", "/a?2"):
            assert proxy.get(target).body == target.encode()
