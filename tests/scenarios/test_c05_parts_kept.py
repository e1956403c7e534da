"""What ends the use of stored parts, and what does not: order of arrival, purges, clients that leave, bounds."""

from __future__ import annotations

import zlib

import pytest

from tests.harness import Crew, Origin, Reply, Request, Signal, reply
from tests.harness.proxy import Proxy, is_hit, ours
from tests.harness.ranged import Ranged
from tests.scenarios.test_a07_groups_and_tags import purge
from tests.scenarios.test_c04_partial import asked, part, parts_stored, same, serving, site, whole

URL = "http://site.test/a"


class Held:
    """`resource`, but the last bytes of answers to `value` wait for a signal."""

    def __init__(self, resource: Ranged, value: str) -> None:
        self.resource, self.value = resource, value
        self.go = Signal()
        self.begun = Signal()

    def __call__(self, request: Request) -> Reply | None:
        if request.method == "POST":
            return reply(204)
        made = self.resource(request)
        if request["range"] != self.value or self.go.is_set():
            return made
        data = made.encode()
        request.conn.send(data[:-20])
        self.begun.set()
        self.go.wait()
        request.conn.send(data[-20:])
        return None


def test_an_older_part_that_arrives_late_does_not_replace_a_newer_one() -> None:
    a = Ranged()
    rule = Held(a, "bytes=0-99")
    with Origin(rule) as origin, Proxy(site(origin)) as proxy, Crew() as crew:
        slow = crew.start(part, proxy, 0, 99)
        rule.begun.wait()
        proxy.settle()
        proxy.advance(1)
        a.change()
        same(part(proxy, 500, 599), a.body(2), 500, 599)
        rule.go.set()
        same(slow.result(), a.body(1), 0, 99)
        proxy.settle()
        assert is_hit(part(proxy, 500, 599))
        same(part(proxy, 0, 99), a.body(2), 0, 99)
        assert parts_stored(proxy) == 2


def test_an_older_part_of_the_same_version_that_arrives_late_is_kept() -> None:
    a = Ranged()
    rule = Held(a, "bytes=0-99")
    with Origin(rule) as origin, Proxy(site(origin)) as proxy, Crew() as crew:
        slow = crew.start(part, proxy, 0, 99)
        rule.begun.wait()
        proxy.settle()
        proxy.advance(10)
        part(proxy, 100, 199)
        rule.go.set()
        slow.result()
        proxy.settle()
        got = part(proxy, 50, 149)
        same(got, a.body(), 50, 149)
        assert is_hit(got)
        assert got["age"] == "0"  # the newer response speaks for both
        assert origin.count() == 2


def test_a_part_that_arrives_behind_the_whole_is_not_kept() -> None:
    a = Ranged()
    rule = Held(a, "bytes=0-99")
    with Origin(rule) as origin, Proxy(site(origin)) as proxy, Crew() as crew:
        slow = crew.start(part, proxy, 0, 99)
        rule.begun.wait()
        proxy.settle()
        whole(proxy.get("/a"), a.body())
        rule.go.set()
        same(slow.result(), a.body(), 0, 99)
        proxy.settle()
        assert parts_stored(proxy) == 0


@pytest.mark.parametrize("stale", [False, True])
def test_a_new_version_that_may_not_be_stored_ends_the_old_parts(stale: bool) -> None:
    a = Ranged()

    def rule(request: Request) -> Reply:
        made = a(request)
        if a.version > 1:
            made.fields = [("Cache-Control", "no-store"), *made.fields[1:]]
        return made

    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        part(proxy, 0, 99)
        a.change()
        if stale:
            assert part(proxy, 0, 99, Cache_Control="no-cache").body == a.body(2)[:100]
        else:
            assert part(proxy, 50, 149).body == a.body(2)
        same(part(proxy, 0, 9), a.body(2), 0, 9)
        assert origin.count() == 3


@pytest.mark.parametrize("tag", ["blue", "red"])
def test_parts_are_purged_by_tag(tag: str) -> None:
    a = Ranged(fields=[("Cache-Tag", "red")])
    with serving(a) as (origin, proxy):
        part(proxy, 0, 99)
        a.change()
        purge(proxy, tags=[tag])
        for _ in range(2):
            same(part(proxy, 0, 99), a.body(2 if tag == "red" else 1), 0, 99)
        assert origin.count() == (2 if tag == "red" else 1)
        assert parts_stored(proxy) == 1


def test_parts_are_purged_softly_by_tag() -> None:
    a = Ranged(fields=[("Cache-Tag", "red")])
    with serving(a) as (origin, proxy):
        part(proxy, 0, 99)
        proxy.advance(1)
        purge(proxy, tags=["red"], soft=True)
        for _ in range(2):
            same(part(proxy, 0, 9), a.body(), 0, 9)
        assert asked(origin)[1:] == [("bytes=0-9", None, '"v1"')]


def test_a_part_that_left_before_a_purge_by_tag_is_not_kept() -> None:
    a = Ranged(fields=[("Cache-Tag", "red")])
    rule = Held(a, "bytes=0-99")
    with Origin(rule) as origin, Proxy(site(origin)) as proxy, Crew() as crew:
        slow = crew.start(part, proxy, 0, 99)
        rule.begun.wait()
        proxy.settle()
        purge(proxy, tags=["red"])
        rule.go.set()
        slow.result()
        proxy.settle()
        assert parts_stored(proxy) == 0


def test_a_soft_purge_during_a_validation_holds() -> None:
    a = Ranged()
    rule = Held(a, "bytes=0-9")
    with Origin(rule) as origin, Proxy(site(origin)) as proxy, Crew() as crew:
        part(proxy, 0, 99)
        proxy.advance(61)
        slow = crew.start(part, proxy, 0, 9)
        origin.wait_for(2)
        purge(proxy, [URL], soft=True)
        rule.go.set()
        same(slow.result(), a.body(), 0, 9)
        same(part(proxy, 0, 9), a.body(), 0, 9)
        assert asked(origin)[1:] == [("bytes=0-9", None, '"v1"')] * 2


def test_a_purge_by_url_reaches_index_and_parts() -> None:
    a = Ranged()
    with serving(a) as (_, proxy):
        part(proxy, 0, 99)
        part(proxy, 200, 299)
        assert purge(proxy, [URL]) == 1
        assert parts_stored(proxy) == 0


def test_a_304_that_forbids_storing_ends_the_parts() -> None:
    a = Ranged()

    def rule(request: Request) -> Reply:
        made = a(request)
        if made.status == 304:
            made.fields = [("Cache-Control", "no-store"), *made.fields[1:]]
        return made

    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        part(proxy, 0, 99)
        proxy.advance(61)
        got = part(proxy, 0, 9)
        same(got, a.body(), 0, 9)
        assert got["cache-control"] == "no-store"
        assert parts_stored(proxy) == 0
        same(part(proxy, 0, 9), a.body(), 0, 9)
        assert asked(origin)[2] == ("bytes=0-9", None, None)


def test_a_304_for_something_else_is_no_answer() -> None:
    a = Ranged()

    def rule(request: Request) -> Reply:
        made = a(request)
        if made.status == 304:
            made.fields = [("ETag", '"other"')]
        return made

    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        part(proxy, 0, 99)
        proxy.advance(61)
        same(part(proxy, 0, 9), a.body(), 0, 9)
        assert asked(origin)[1:] == [("bytes=0-9", None, '"v1"'), ("bytes=0-9", None, None)]


def test_parts_are_judged_again_after_a_reload() -> None:
    a = Ranged(fields=[("Set-Cookie", "a=b"), ("Cache-Control", "public")])
    from cdn import config
    from tests.harness import yaml_text

    with Origin(a) as origin, Proxy(site(origin)) as proxy:
        part(proxy, 0, 99)
        assert is_hit(part(proxy, 0, 99))
        assert proxy._loop is not None
        tree = proxy.tree | site(origin, {"store_set_cookie": False})
        parsed = config.parse(yaml_text(tree), "test.yaml", proxy.home)
        proxy._loop.call_soon_threadsafe(proxy._worker.reload, parsed)
        proxy.settle()
        assert not is_hit(part(proxy, 0, 99))
        assert parts_stored(proxy) == 0


def test_a_client_that_leaves_early_ends_the_transfer_of_a_large_part() -> None:
    total = 12 << 20
    fields = {"Cache-Control": "max-age=60", "ETag": '"v1"', "Content-Range": f"bytes 0-{total - 1}/{total}"}
    ended = Signal()

    def rule(request: Request) -> Reply | None:
        request.conn.head(206, {**fields, "Content-Length": str(total)})
        request.conn.send(b"x" * 100_000)
        request.conn.expect_closed()
        ended.set()
        request.conn.close()
        return None

    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        with proxy.client() as client:
            client.request("GET", "/a", {"Range": "bytes=0-"})
            client.read_head()
            client.reset()
        ended.wait()
        proxy.settle()
        assert parts_stored(proxy) == 0
        assert origin.count() == 1


def test_a_small_part_is_finished_without_its_client() -> None:
    a = Ranged(length=100_000)
    rule = Held(a, "bytes=0-59999")
    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        with proxy.client() as client:
            client.request("GET", "/a", {"Range": "bytes=0-59999"})
            client.read_head()
            client.reset()
        proxy.settle()
        rule.go.set()
        got = part(proxy, 0, 59_999)
        same(got, a.body(), 0, 59_999)
        assert origin.count() <= 2  # the second may have come before the part was whole


@pytest.mark.parametrize("age", [None, "5"])
def test_the_age_of_a_206_that_came_just_now(age: str | None) -> None:
    a = Ranged(fields=[] if age is None else [("Age", age)])
    with serving(a) as (_, proxy):
        assert part(proxy, 0, 99)["age"] == age
        proxy.advance(2)
        assert part(proxy, 0, 99)["age"] == str(int(age or 0) + 2)


def test_fields_for_one_client_are_not_in_the_part() -> None:
    a = Ranged(fields=[("Cache-Control", 'private="x-user"'), ("X-User", "joe")])
    with serving(a) as (origin, proxy):
        assert part(proxy, 0, 99)["x-user"] == "joe"
        got = part(proxy, 0, 99)
        assert (got["x-user"], is_hit(got)) == (None, True)
        assert origin.count() == 1


def test_edits_of_the_route_apply_to_parts() -> None:
    a = Ranged(fields=[("X-Gone", "1")])
    edits = {"headers": {"response": {"remove": ["X-Gone"], "set": {"X-New": "2"}}}}
    with Origin(a) as origin, Proxy(site(origin, route=edits)) as proxy:
        for first in (0, 10, 50):
            got = part(proxy, first, first + 89)
            same(got, a.body(), first, first + 89)
            assert (got["x-gone"], got["x-new"]) == (None, "2")
        got = proxy.get("/a")
        whole(got, a.body())
        assert (got["x-gone"], got["x-new"]) == (None, "2")


def test_the_variants_of_a_url_are_bounded_with_their_parts() -> None:
    a = Ranged(fields=[("Vary", "Colour")])
    with serving(a) as (_, proxy):
        for number in range(70):
            part(proxy, 0, 9, Colour=str(number))
        assert parts_stored(proxy) == 64
        assert is_hit(part(proxy, 0, 9, Colour="69"))


def test_what_comes_through_a_completion_is_counted_once() -> None:
    a = Ranged()
    with serving(a) as (_, proxy):
        part(proxy, 0, 899)
        whole(proxy.get("/a"), a.body())
        assert proxy.stats()["origins"]["app"]["bytes"] == 1000
        assert ours(proxy.get("/a")).get("hit") is True


def test_a_post_is_nothing_for_parts() -> None:
    a = Ranged()
    with serving(a) as (origin, proxy):
        part(proxy, 0, 99)
        got = proxy.ask("POST", "/a", {"Range": "bytes=0-9"}, b"x")
        whole(got, a.body())
        assert origin.count(method="POST") == 1


# --- on a route that compresses


def test_parts_where_the_route_compresses() -> None:
    """Parts are the origin's bytes and answer ranges; the whole that is made of them is coded for who likes that."""
    a = Ranged(length=5000)
    gzip = {"Accept-Encoding": "gzip"}
    with Origin(a) as origin, Proxy(site(origin, route={"compress": ["gzip"]})) as proxy:
        for _ in range(2):
            got = part(proxy, 0, 2999, Accept_Encoding="gzip")
            same(got, a.body(), 0, 2999)
            assert got["content-encoding"] is None
        got = proxy.get("/a", gzip)
        assert (got["content-encoding"], got["etag"]) == ("gzip", 'W/"v1"')
        assert zlib.decompress(got.body, 31) == a.body()
        assert [request["range"] for request in origin.requests] == ["bytes=0-2999", "bytes=3000-4999"]
        assert proxy.stats()["origins"]["app"]["bytes"] == 5000
        assert is_hit(proxy.get("/a", gzip))
        assert parts_stored(proxy) == 0
        whole(proxy.get("/a", {"Accept-Encoding": "identity"}), a.body())
        assert origin.count() == 3


def test_complete_parts_where_the_route_compresses() -> None:
    a = Ranged(length=5000)
    with Origin(a) as origin, Proxy(site(origin, route={"compress": ["gzip"]})) as proxy:
        part(proxy, 0, 2999)
        part(proxy, 3000)
        assert is_hit(part(proxy, 2000, 3999))
        got = proxy.get("/a", {"Accept-Encoding": "gzip"})
        assert got["content-encoding"] == "gzip"
        assert zlib.decompress(got.body, 31) == a.body()
        assert origin.count() == 3


def test_a_date_in_if_range_where_the_route_compresses() -> None:
    """All codings have the same date: it must not let a client join parts of two of them."""
    then = "Thu, 01 Jan 2015 00:00:00 GMT"
    a = Ranged(length=5000, fields=[("Last-Modified", then)])
    with Origin(a) as origin, Proxy(site(origin, route={"compress": ["gzip"]})) as proxy:
        part(proxy, 0, 2999)
        got = part(proxy, 0, 9, If_Range=then)
        whole(got, a.body())
        assert origin.last["range"] is None
