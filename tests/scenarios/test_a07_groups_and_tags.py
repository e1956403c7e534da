"""Invalidation by cache group (RFC 9875), purges by tag, prefix and host, through the running proxy."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.harness import FieldsLike, Origin, Reply, Request, Signal, fresh, reply, site
from tests.harness.proxy import Proxy, is_hit, ours

GROUPS = {"/a": '"x", "y"', "/b": '"y"', "/c": '"z"', "/d": ""}


def grouped(request: Request, status: int = 200) -> Reply:
    """GET: in the groups of GROUPS. Anything else invalidates group y."""
    if request.method != "GET":
        return reply(status, {"Cache-Group-Invalidation": '"y"'})
    groups = GROUPS.get(request.target, "")
    return fresh(60, request.target.encode(), **({"cache_groups": groups} if groups else {}))


def purge(proxy: Proxy, urls: list[str] | None = None, soft: bool = False, **named: list[str]) -> int:
    async def run() -> int:
        return int(proxy._worker.purge(urls or [], False, soft, **named))

    assert proxy._loop is not None
    return asyncio.run_coroutine_threadsafe(run(), proxy._loop).result(5)


def hits(proxy: Proxy, *targets: str, fields: FieldsLike = None) -> list[bool]:
    return [is_hit(proxy.get(target, fields)) for target in targets]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "FROBNICATE"])
@pytest.mark.parametrize("status", [200, 204, 303])
def test_a_group_is_invalidated(method: str, status: int) -> None:
    with Origin(lambda request: grouped(request, status)) as origin, Proxy(site(origin)) as proxy:
        assert hits(proxy, *GROUPS) == [False] * 4
        assert proxy.ask(method, "/other").status == status
        assert hits(proxy, *GROUPS) == [False, False, True, True]
        with proxy.lanes(hit=4):  # and what was decided again is plain from then on
            assert hits(proxy, *GROUPS) == [True] * 4


@pytest.mark.parametrize(("method", "status"), [("POST", 404), ("POST", 500), ("OPTIONS", 200)])
def test_not_by_failures_or_safe_methods(method: str, status: int) -> None:
    with Origin(lambda request: grouped(request, status)) as origin, Proxy(site(origin)) as proxy:
        hits(proxy, *GROUPS)
        proxy.ask(method, "/other")
        assert hits(proxy, *GROUPS) == [True] * 4


def test_not_by_a_get() -> None:
    def rule(request: Request) -> Reply:
        if request.target == "/g":
            return fresh(60, cache_group_invalidation='"y"')
        return grouped(request)

    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        hits(proxy, *GROUPS)
        proxy.get("/g")
        assert hits(proxy, *GROUPS) == [True] * 4


def test_groups_of_another_origin_stay() -> None:
    route = {"match": {"host": ["site.test", "other.test"], "path": "/*"}}
    with Origin(grouped) as origin, Proxy(site(origin, route=route)) as proxy:
        proxy.get("/a", host="other.test")
        proxy.get("/a")
        proxy.ask("POST", "/x")
        assert is_hit(proxy.get("/a", host="other.test"))
        assert not is_hit(proxy.get("/a"))


@pytest.mark.parametrize("value", ["y", '"y', '"y", 1', '"Y"'])
def test_what_is_no_list_of_strings_says_nothing(value: str) -> None:
    def rule(request: Request) -> Reply:
        if request.method == "POST":
            return reply(200, {"Cache-Group-Invalidation": value})
        return grouped(request)

    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        proxy.get("/b")
        proxy.ask("POST", "/x")
        assert is_hit(proxy.get("/b"))


def test_variants_carry_their_own_groups() -> None:
    def rule(request: Request) -> Reply:
        if request.method == "POST":
            return reply(200, {"Cache-Group-Invalidation": '"s"'})
        size = request["x-size"] or ""
        return fresh(60, size.encode(), vary="X-Size", cache_groups=f'"{size}"')

    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        for size in ("s", "l"):
            proxy.get("/a", {"X-Size": size})
        proxy.ask("POST", "/x")
        assert not is_hit(proxy.get("/a", {"X-Size": "s"}))
        assert is_hit(proxy.get("/a", {"X-Size": "l"}))


def test_a_stale_one_is_not_served_after_its_group_went() -> None:
    def rule(request: Request) -> Reply:
        if request.method == "POST":
            return reply(200, {"Cache-Group-Invalidation": '"g"'})
        control = "max-age=10, stale-while-revalidate=100, stale-if-error=100"
        return reply(200, {"Cache-Control": control, "Cache-Groups": '"g"'}, str(origin.count()).encode())

    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        proxy.get("/a")
        proxy.ask("POST", "/x")
        proxy.advance(20)
        assert proxy.get("/a").body == b"3"


def asked_before(purged: Any) -> None:
    """What the origin was asked before a purge is not used for those who ask behind it."""
    first_asked, go = Signal("the first is at the origin"), Signal("purged")

    def rule(request: Request) -> Reply:
        if request.method == "POST":
            return reply(200, {"Cache-Group-Invalidation": '"g"'})
        number = origin.count("/a")
        if number == 1:
            first_asked.set()
            request.conn.hold(go)
        return fresh(60, str(number).encode(), cache_groups='"g"', cache_tag="t")

    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        first = proxy.client()
        first.request("GET", "/a")
        first_asked.wait()
        purged(proxy)
        second = proxy.get("/a")  # does not wait for the first one's
        assert second.body == b"2"
        go.set()
        assert first.read_response().body == b"1"
        third = proxy.get("/a")
        assert (third.body, is_hit(third)) == (b"2", True)
        assert origin.count("/a") == 2


def test_asked_before_its_group_went() -> None:
    asked_before(lambda proxy: proxy.ask("POST", "/x"))


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize(
    "named",
    [{"tags": ["t"]}, {"prefixes": ["http://site.test/"]}, {"hosts": ["site.test"]}],
    ids=["tag", "prefix", "host"],
)
def test_asked_before_a_purge(named: dict[str, list[str]], soft: bool) -> None:
    asked_before(lambda proxy: purge(proxy, soft=soft, **named))


def test_another_tags_purge_leaves_a_body_under_way_alone() -> None:
    go = Signal("purged")

    def rule(request: Request) -> None:
        conn = request.conn
        conn.head(200, {"Cache-Control": "max-age=60", "Content-Length": "8", "Cache-Tag": "t"})
        conn.send(b"half")
        conn.hold(go)
        conn.send(b"done")

    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        first, second = proxy.client(), proxy.client()
        first.request("GET", "/a")
        _, body = first.read_head()
        assert body.exactly(4) == b"half"
        purge(proxy, tags=["other"])
        second.request("GET", "/a")
        proxy.settle()
        go.set()
        answer = second.read_response()
        assert (answer.body, "collapsed" in ours(answer)) == (b"halfdone", True)
        assert body.rest() == b"done"
        assert is_hit(proxy.get("/a"))
        assert origin.count() == 1


def test_alone_and_asked_before_a_purge() -> None:
    """A range is fetched for one client; what comes whole is stored, but not past a purge."""
    asked, go = Signal("asked"), Signal("go")

    def rule(request: Request) -> Reply:
        if origin.count() == 1:
            asked.set()
            request.conn.hold(go)
        return fresh(60, str(origin.count()).encode(), cache_tag="t")

    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        first = proxy.client()
        first.request("GET", "/a", {"Range": "bytes=0-0"})
        asked.wait()
        purge(proxy, tags=["t"])
        go.set()
        assert first.read_response().body == b"1"
        assert proxy.get("/a").body == b"2"


TAGGED = {
    "/img/a": {"surrogate_key": "one two"},
    "/img/b": {"cache_tag": "two, three"},
    "/c": {"cache_tag": "three"},
}


def tagged(request: Request) -> Reply:
    if request["if-none-match"] is not None:
        return reply(304, {"ETag": '"1"'})
    return fresh(60, b"body", etag='"1"', **TAGGED.get(request.target, {}))


@pytest.mark.parametrize(
    ("named", "left"),
    [
        ({"tags": ["one"]}, [False, True, True]),
        ({"tags": ["two"]}, [False, False, True]),
        ({"tags": ["three", "none"]}, [True, False, False]),
        ({"tags": ["Two"]}, [True, True, True]),
        ({"prefixes": ["http://site.test/img/"]}, [False, False, True]),
        ({"prefixes": ["http://SITE.test:80/%69mg/b"]}, [True, False, True]),
        ({"prefixes": ["https://site.test/img/"]}, [True, True, True]),
        ({"hosts": ["Site.test"]}, [False, False, False]),
        ({"hosts": ["other.test"]}, [True, True, True]),
        ({"tags": ["one"], "prefixes": ["http://site.test/c"]}, [False, True, False]),
    ],
)
@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
def test_a_purge_reaches_what_it_names(named: dict[str, list[str]], left: list[bool], soft: bool) -> None:
    with Origin(tagged) as origin, Proxy(site(origin)) as proxy:
        hits(proxy, *TAGGED)
        purge(proxy, soft=soft, **named)
        asked = origin.count()
        assert hits(proxy, *TAGGED) == left
        conditional = [bool(request["if-none-match"]) for request in origin.requests[asked:]]
        assert conditional == [soft] * left.count(False)  # softly purged: the body is still there
        with proxy.lanes(hit=3):
            assert hits(proxy, *TAGGED) == [True] * 3


def test_a_soft_purge_lets_stale_answers_through() -> None:
    with Origin(tagged) as origin, Proxy(site(origin, {"stale_while_revalidate": "10s"})) as proxy:
        proxy.get("/c")
        purge(proxy, soft=True, tags=["three"])
        purge(proxy, tags=["other"])  # another epoch, in which the soft purge still holds
        assert "stale-swr" in str(ours(proxy.get("/c"))) or not is_hit(proxy.get("/c"))
        origin.wait_for(2)


def test_a_soft_purge_and_then_a_hard_one() -> None:
    with Origin(tagged) as origin, Proxy(site(origin)) as proxy:
        proxy.get("/c")
        purge(proxy, soft=True, tags=["three"])
        purge(proxy, tags=["three"])
        purge(proxy, soft=True, tags=["three"])
        proxy.get("/c")
        assert origin.last["if-none-match"] is None


def test_urls_and_names_in_one_purge() -> None:
    with Origin(tagged) as origin, Proxy(site(origin)) as proxy:
        hits(proxy, *TAGGED)
        assert purge(proxy, ["http://site.test/c"], tags=["one"]) == 1
        assert hits(proxy, *TAGGED) == [False, True, False]


def test_a_refused_purge_does_nothing() -> None:
    with Origin(tagged) as origin, Proxy(site(origin)) as proxy:
        hits(proxy, *TAGGED)
        with pytest.raises(ValueError, match="is not a host"):
            purge(proxy, ["http://site.test/c"], tags=["one"], hosts=["a/b"])
        assert hits(proxy, *TAGGED) == [True] * 3


def test_explain_knows_of_a_purge() -> None:
    with Origin(tagged) as origin, Proxy(site(origin)) as proxy:
        hits(proxy, *TAGGED)
        purge(proxy, tags=["one"])
        purge(proxy, soft=True, tags=["three"])

        async def explained(target: str) -> dict[str, Any]:
            return dict(proxy._worker.explain(f"http://site.test{target}", []))

        def explain(target: str) -> tuple[str | None, str]:
            assert proxy._loop is not None
            out = asyncio.run_coroutine_threadsafe(explained(target), proxy._loop).result(5)
            return out["stored"]["purged"], out["decision"]

        assert explain("/img/a") == ("gone", "fetch")
        assert explain("/c") == ("soft", "validate")
