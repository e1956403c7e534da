"""206 responses are stored, put together, completed and used (RFC 9111 §3.3, §3.4; RFC 9110 §14, §15.3.7).

On a route that asks for ranges as its clients do; `test_c06_slices` has the others.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.harness import Crew, Origin, Reply, Request, Response, Signal, eventually, reply
from tests.harness import site as any_site
from tests.harness.proxy import Proxy, is_hit, ours
from tests.harness.ranged import Ranged


def site(origin: Origin, cache: dict[str, object] | None = None, **more: object) -> dict[str, object]:
    return any_site(origin, {"slices": False, **(cache or {})}, **more)  # type: ignore[arg-type]


@contextmanager
def serving(resource: Ranged, cache: dict[str, object] | None = None) -> Iterator[tuple[Origin, Proxy]]:
    with Origin(resource) as origin, Proxy(site(origin, cache)) as proxy:
        yield origin, proxy


def part(proxy: Proxy, first: int, last: int | str = "", **fields: str) -> Response:
    lines = {name.replace("_", "-"): value for name, value in fields.items()}
    return proxy.get("/a", {"Range": f"bytes={first}-{last}", **lines})


def same(got: Response, body: bytes, first: int, last: int) -> None:
    """A 206 with exactly these bytes of `body`, and framed so."""
    assert got.status == 206, got
    assert got["content-range"] == f"bytes {first}-{last}/{len(body)}"
    assert got["content-length"] == str(last - first + 1)
    assert got.body == body[first : last + 1]


def whole(got: Response, body: bytes) -> None:
    assert got.status == 200, got
    assert got["content-range"] is None
    assert got["content-length"] == str(len(body))
    assert got.body == body


def asked(origin: Origin) -> list[tuple[str | None, str | None, str | None]]:
    return [(r["range"], r["if-range"], r["if-none-match"]) for r in origin.requests]


def parts_stored(proxy: Proxy) -> int:
    keys: list[bytes] = proxy._worker.site.memory.keys()
    return sum(b"\x00part\x08" in key for key in keys)


# --- §3.3: storing a part, and answering from it


def test_a_part_answers_ranges_within_it() -> None:
    a = Ranged()
    with serving(a) as (origin, proxy):
        first = part(proxy, 100, 299)
        same(first, a.body(), 100, 299)
        assert ours(first)["stored"] is True
        for begin, end in ((100, 299), (150, 150), (100, 100), (299, 299), (120, 250)):
            got = part(proxy, begin, end)
            same(got, a.body(), begin, end)
            assert is_hit(got)
            assert got["etag"] == a.etag()
            assert got["content-type"] == "text/x-test"
            assert got["age"] == "0"
        assert origin.count() == 1


FORMS = [
    ("bytes=900-", 900, 999),
    ("bytes=-100", 900, 999),
    ("bytes=950-5000", 950, 999),
    ("bytes=-1", 999, 999),
]


@pytest.mark.parametrize(("value", "first", "last"), FORMS)
def test_every_form_of_a_range_is_answered_from_a_part(value: str, first: int, last: int) -> None:
    a = Ranged()
    with serving(a) as (origin, proxy):
        part(proxy, 900)
        same(proxy.get("/a", {"Range": value}), a.body(), first, last)
        assert origin.count() == 1


def test_several_ranges_that_are_there() -> None:
    a = Ranged(length=5000)
    with serving(a) as (origin, proxy):
        part(proxy, 0, 99)
        part(proxy, 4000, 4099)
        got = proxy.get("/a", {"Range": "bytes=10-19,4010-4019"})
        assert origin.count() == 2
        assert got.status == 206
        boundary = re.fullmatch(r"multipart/byteranges; boundary=(\w+)", got["content-type"] or "")
        assert boundary
        pieces = got.body.split(b"--" + boundary[1].encode())
        assert [piece.partition(b"\r\n\r\n")[2][:10] for piece in pieces[1:3]] == [
            a.body()[10:20],
            a.body()[4010:4020],
        ]


def test_age_and_freshness_of_a_part() -> None:
    a = Ranged(max_age=60)
    with serving(a) as (origin, proxy):
        part(proxy, 0, 99)
        proxy.advance(59)
        got = part(proxy, 0, 99)
        assert (got["age"], is_hit(got)) == ("59", True)
        proxy.advance(2)
        got = part(proxy, 10, 19)
        same(got, a.body(), 10, 19)
        assert asked(origin)[1:] == [
            ("bytes=10-19", None, a.etag())
        ]  # one validation, with the client's range
        assert ours(got)["fwd"] == "stale"
        assert is_hit(part(proxy, 0, 99))  # the 304 has renewed the part
        assert origin.count() == 2


def test_a_conditional_range_within_a_part() -> None:
    a = Ranged()
    with serving(a) as (origin, proxy):
        part(proxy, 0, 99)
        got = part(proxy, 0, 9, If_None_Match=a.etag())
        assert (got.status, got.body) == (304, b"")
        same(part(proxy, 0, 9, If_None_Match='"other"'), a.body(), 0, 9)
        assert origin.count() == 1


IF_RANGE = {"same tag": ('"v1"', True), "other tag": ('"v2"', False), "weak tag": ('W/"v1"', False)}


@pytest.mark.parametrize(("value", "here"), IF_RANGE.values(), ids=IF_RANGE)
def test_if_range_and_a_part(value: str, here: bool) -> None:
    a = Ranged()
    with serving(a) as (origin, proxy):
        part(proxy, 0, 99)
        got = part(proxy, 10, 19, If_Range=value)
        if here:
            same(got, a.body(), 10, 19)
            assert origin.count() == 1
            return
        whole(got, a.body())
        assert asked(origin)[1] == ("bytes=10-19", value, None)
        whole(proxy.get("/a"), a.body())  # that answer was the whole, and was stored
        assert origin.count() == 2


NOT_KEPT: dict[str, dict[str, str]] = {
    "length unknown": {"Content-Range": "bytes 2-4/*"},
    "other bytes than asked for": {"Content-Range": "bytes 3-5/10"},
    "content-range and content-length disagree": {"Content-Range": "bytes 2-5/10"},
    "no-store": {"Cache-Control": "no-store"},
    "private": {"Cache-Control": "private, max-age=60"},
    "multipart": {"Content-Range": "", "Content-Type": "multipart/byteranges; boundary=x"},
    "cookie, and a guess": {"Set-Cookie": "a=b", "Cache-Control": ""},
    "varies by everything": {"Vary": "*"},
}


@pytest.mark.parametrize("changed", NOT_KEPT.values(), ids=NOT_KEPT)
def test_what_is_not_kept_is_passed_as_it_came(changed: dict[str, str]) -> None:
    fields = {"Cache-Control": "max-age=60", "ETag": '"v1"', "Content-Range": "bytes 2-4/10"} | changed
    sent = {name: value for name, value in fields.items() if value}
    with Origin(reply(206, sent, b"234")) as origin, Proxy(site(origin)) as proxy:
        for _ in range(2):
            got = part(proxy, 2, 4)
            assert (got.status, got.body) == (206, b"234")
            assert got["content-range"] == sent.get("Content-Range")
            assert "stored" not in ours(got)
        assert origin.count() == 2


CHUNKED = {"Cache-Control": "max-age=60", "ETag": '"v1"', "Content-Range": "bytes 2-4/10"}


def test_a_chunked_part_is_kept() -> None:
    with Origin(reply(206, CHUNKED, b"234", framing="chunked")) as origin, Proxy(site(origin)) as proxy:
        for _ in range(2):
            got = part(proxy, 2, 4)
            assert (got.body, got["content-length"]) == (b"234", "3")
        assert part(proxy, 3, 4).body == b"34"
        assert origin.count() == 1


@pytest.mark.parametrize("sent", [b"23", b"", b"2345", b"234567890"])
def test_a_chunked_part_of_another_length_breaks_off_and_is_not_kept(sent: bytes) -> None:
    with Origin(reply(206, CHUNKED, sent, framing="chunked")) as origin, Proxy(site(origin)) as proxy:
        for _ in range(2):
            with proxy.client() as client:
                client.request("GET", "/a", {"Range": "bytes=2-4"})
                got = client.read_response(tolerate_abort=True)
            assert got.aborted
            assert len(got.body) <= 3
        assert origin.count() == 2


@pytest.mark.parametrize("sent", [b"56789", b"5678", b"567890", b"", b"5678901234"])
def test_a_chunked_completion_is_measured_too(sent: bytes) -> None:
    """What is held behind the gap never moves, whatever the origin sends for it."""
    tags = {"Cache-Control": "max-age=60", "ETag": '"v1"'}

    def rule(request: Request) -> Reply:
        first, last = {1: (0, 4), 2: (10, 14)}.get(origin.count(), (5, 9))
        body = b"01234" if first == 0 else b"ABCDE" if first == 10 else sent
        fields = {**tags, "Content-Range": f"bytes {first}-{last}/15"}
        return reply(206, fields, body, framing="chunked")

    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        part(proxy, 0, 4)
        part(proxy, 10, 14)
        with proxy.client() as client:
            client.request("GET", "/a")
            got = client.read_response(tolerate_abort=True)
        assert got.aborted is (sent != b"56789")
        assert b"0123456789ABCDE".startswith(got.body)
        assert got.aborted or got.body == b"0123456789ABCDE"


def test_a_part_that_breaks_off_is_not_kept() -> None:
    body = Ranged().body()
    cut = b'HTTP/1.1 206 Partial Content\r\nCache-Control: max-age=60\r\nETag: "v1"\r\n'
    cut += b"Content-Range: bytes 0-99/1000\r\nContent-Length: 100\r\n\r\n" + body[:50]
    a = Ranged()

    def broken(conn) -> None:  # type: ignore[no-untyped-def]
        conn.expect("GET", "/a")
        conn.send(cut)
        conn.close()

    with Origin(a, scripts=[broken]) as origin, Proxy(site(origin)) as proxy:
        with proxy.client() as client:
            client.request("GET", "/a", {"Range": "bytes=0-99"})
            got = client.read_response(tolerate_abort=True)
            assert got.aborted
            assert body[:50].startswith(got.body)
        same(part(proxy, 0, 9), a.body(), 0, 9)
        assert origin.count() == 2


def test_incomplete_responses_answer_nothing_else() -> None:
    """RFC 9111 §3.3: only ranges wholly within them. HEAD, 304 and 416 are the origin's."""
    a = Ranged()
    with serving(a) as (origin, proxy):
        part(proxy, 0, 99)
        got = proxy.ask("HEAD", "/a")
        assert (got.status, got["content-length"]) == (200, "1000")
        assert origin.count(method="HEAD") == 1
        assert proxy.get("/a", {"If-None-Match": a.etag()}).status == 304
        got = part(proxy, 1000)
        assert (got.status, got["content-range"]) == (416, "bytes */1000")
        assert origin.count() == 4
        assert is_hit(part(proxy, 0, 99))


def test_head_that_shows_another_version_makes_the_parts_stale() -> None:
    a = Ranged()
    with serving(a) as (origin, proxy):
        part(proxy, 0, 99)
        a.change()
        proxy.ask("HEAD", "/a")
        same(part(proxy, 0, 99), a.body(), 0, 99)
        assert asked(origin)[2] == ("bytes=0-99", None, '"v1"')
        assert is_hit(part(proxy, 0, 99))


def test_only_if_cached_and_parts() -> None:
    a = Ranged()
    only = "only-if-cached"
    with serving(a) as (origin, proxy):
        assert part(proxy, 0, 9, Cache_Control=only).status == 504
        part(proxy, 0, 99)
        same(part(proxy, 0, 9, Cache_Control=only), a.body(), 0, 9)
        assert part(proxy, 50, 149, Cache_Control=only).status == 504
        assert proxy.get("/a", {"Cache-Control": only}).status == 504
        proxy.advance(61)
        assert part(proxy, 0, 9, Cache_Control=only).status == 504
        assert origin.count() == 1


def test_no_store_in_a_request_keeps_nothing_of_it() -> None:
    a = Ranged()
    with serving(a) as (origin, proxy):
        for _ in range(2):
            same(part(proxy, 0, 9, Cache_Control="no-store"), a.body(), 0, 9)
        assert origin.count() == 2
        part(proxy, 0, 99)
        same(part(proxy, 50, 149, Cache_Control="no-store"), a.body(), 50, 149)
        assert asked(origin)[-1] == ("bytes=50-149", None, None)  # as the client sent it
        same(part(proxy, 50, 149), a.body(), 50, 149)
        assert asked(origin)[-1] == ("bytes=100-149", '"v1"', None)


def test_no_cache_in_a_request_validates_parts() -> None:
    a = Ranged()
    with serving(a) as (origin, proxy):
        part(proxy, 0, 99)
        got = part(proxy, 0, 9, Cache_Control="no-cache")
        same(got, a.body(), 0, 9)
        assert ours(got)["fwd"] == "request"
        assert asked(origin)[1:] == [("bytes=0-9", None, '"v1"')]


# --- §3.4: putting parts together


def test_neighbours_and_overlaps_become_one() -> None:
    a = Ranged()
    with serving(a) as (origin, proxy):
        part(proxy, 0, 99)
        part(proxy, 300, 399)
        part(proxy, 100, 199)
        same(part(proxy, 50, 150), a.body(), 50, 150)
        assert origin.count() == 3
        got = part(proxy, 150, 349)  # a hole in the middle
        same(got, a.body(), 150, 349)
        assert ours(got)["fwd"] == "partial"
        assert asked(origin)[3:] == [("bytes=200-299", '"v1"', None)]
        got = part(proxy, 0, 399)
        same(got, a.body(), 0, 399)
        assert is_hit(got)
        assert got["content-type"] == "text/x-test"  # kept, though the last 206 did not say it


def test_several_holes_are_fetched_as_one() -> None:
    a = Ranged()
    with serving(a) as (origin, proxy):
        for first in (0, 200, 400):
            part(proxy, first, first + 99)
        same(part(proxy, 50, 449), a.body(), 50, 449)
        assert asked(origin)[3:] == [("bytes=100-399", '"v1"', None)]
        same(part(proxy, 0, 499), a.body(), 0, 499)
        assert origin.count() == 4


def test_parts_that_have_become_complete_are_the_whole() -> None:
    a = Ranged()
    with serving(a) as (origin, proxy):
        part(proxy, 500)
        part(proxy, 0, 499)
        # copied to where the whole lies: the hit lane takes it from there
        eventually(lambda: _in_the_lane(proxy), "the hit lane to answer")
        whole(proxy.get("/a"), a.body())
        got = proxy.ask("HEAD", "/a")
        assert (got.status, got["content-length"]) == (200, "1000")
        assert proxy.get("/a", {"If-None-Match": a.etag()}).status == 304
        assert part(proxy, 1000).status == 416
        assert origin.count() == 2


def _in_the_lane(proxy: Proxy) -> bool:
    before = proxy.stats()["lanes"]["hit"]
    proxy.get("/a")
    return bool(proxy.stats()["lanes"]["hit"] > before)


COMPLETED = {
    "the end": ([(0, 599)], "bytes=600-999"),
    "the beginning": ([(400, 999)], "bytes=0-399"),
    "the middle": ([(0, 99), (900, 999)], "bytes=100-899"),
    "all but one byte": ([(0, 498), (500, 999)], "bytes=499-499"),
}


@pytest.mark.parametrize(("there", "missing"), COMPLETED.values(), ids=COMPLETED)
def test_a_full_request_fetches_what_is_missing(there: list[tuple[int, int]], missing: str) -> None:
    a = Ranged()
    with serving(a) as (origin, proxy):
        for first, last in there:
            part(proxy, first, last)
        got = proxy.get("/a")
        whole(got, a.body())
        assert asked(origin)[len(there) :] == [(missing, '"v1"', None)]
        assert ours(got)["fwd"] == "partial"
        assert got["content-type"] == "text/x-test"
        with proxy.lanes(hit=2):
            whole(proxy.get("/a"), a.body())
            same(part(proxy, 450, 550), a.body(), 450, 550)
        assert origin.count() == len(there) + 1


def test_a_full_request_without_use_for_the_parts_is_a_plain_one() -> None:
    a = Ranged()
    with serving(a) as (origin, proxy):
        part(proxy, 400, 599)
        whole(proxy.get("/a"), a.body())
        assert asked(origin)[1:] == [(None, None, None)]


def test_a_plain_miss_is_never_turned_into_a_range() -> None:
    a = Ranged()
    with serving(a) as (origin, proxy):
        whole(proxy.get("/a"), a.body())
        assert asked(origin) == [(None, None, None)]


def test_everybody_who_wants_the_whole_shares_what_is_missing() -> None:
    a = Ranged()
    held = Signal()

    def rule(request: Request) -> Reply:
        if request["if-range"]:
            held.wait()
        return a(request)

    with Origin(rule) as origin, Proxy(site(origin)) as proxy, Crew() as crew:
        part(proxy, 0, 499)
        tasks = [crew.start(proxy.get, "/a") for _ in range(8)]
        origin.wait_for(2)
        proxy.settle()
        held.set()
        for task in tasks:
            whole(task.result(), a.body())
        assert origin.count() == 2


def test_the_whole_of_stale_parts() -> None:
    a = Ranged(max_age=60)
    with serving(a) as (origin, proxy):
        part(proxy, 0, 499)
        proxy.advance(61)
        got = proxy.get("/a")  # the 206 for the rest is as good as a validation
        whole(got, a.body())
        assert asked(origin)[1:] == [("bytes=500-999", '"v1"', None)]
        assert is_hit(proxy.get("/a"))


# --- another representation


def test_a_range_of_a_new_version_replaces_the_old_parts() -> None:
    a = Ranged()
    with serving(a) as (origin, proxy):
        part(proxy, 0, 99)
        a.change()
        same(part(proxy, 500, 599), a.body(2), 500, 599)
        same(part(proxy, 0, 99), a.body(2), 0, 99)
        assert origin.count() == 3


def test_a_hole_of_a_changed_version_brings_the_whole() -> None:
    a = Ranged()
    with serving(a) as (origin, proxy):
        part(proxy, 0, 99)
        a.change(length=1200)
        same(part(proxy, 50, 149), a.body(2), 50, 149)
        assert asked(origin)[1:] == [("bytes=100-149", '"v1"', None)]
        whole(proxy.get("/a"), a.body(2))
        assert origin.count() == 2


def test_the_whole_of_a_changed_version_replaces_everything() -> None:
    a = Ranged()
    with serving(a) as (origin, proxy):
        part(proxy, 0, 499)
        a.change(length=300)
        whole(proxy.get("/a"), a.body(2))
        same(part(proxy, 0, 99), a.body(2), 0, 99)
        assert origin.count() == 2


def test_stale_parts_of_a_changed_version() -> None:
    a = Ranged(max_age=60)
    with serving(a) as (origin, proxy):
        part(proxy, 0, 499)
        a.change()
        proxy.advance(61)
        same(part(proxy, 0, 99), a.body(2), 0, 99)
        assert asked(origin)[1:] == [("bytes=0-99", None, '"v1"')]  # a range again, not everything
        assert is_hit(part(proxy, 0, 99))
        same(part(proxy, 0, 199), a.body(2), 0, 199)


WRONG: dict[str, dict[str, str]] = {
    "another entity-tag in spite of If-Range": {"ETag": '"v2"'},
    "other bytes": {"Content-Range": "bytes 100-198/1000"},
    "another length": {"Content-Range": "bytes 100-199/2000"},
    "no Content-Range": {"Content-Range": ""},
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("full", [False, True], ids=["range", "whole"])
def test_what_does_not_fit_is_not_put_together(wrong: dict[str, str], full: bool) -> None:
    a = Ranged()

    def rule(request: Request) -> Reply:
        made = a(request)
        if request["if-range"]:
            made.fields = [(n, wrong.get(n, v)) for n, v in made.fields if wrong.get(n, v)]
            made.body = b"x" * len(made.body)
        return made

    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        part(proxy, 0, 99)
        if full:
            whole(proxy.get("/a"), a.body())
            assert asked(origin)[2] == (None, None, None)
        else:
            same(part(proxy, 50, 199), a.body(), 50, 199)
            assert asked(origin)[2] == ("bytes=50-199", None, None)
        assert origin.count() == 3


@pytest.mark.parametrize("full", [False, True], ids=["range", "whole"])
def test_an_origin_that_has_stopped_serving_ranges(full: bool) -> None:
    a = Ranged()
    with serving(a) as (origin, proxy):
        part(proxy, 0, 99)
        a.ranges = False
        if full:
            whole(proxy.get("/a"), a.body())
        else:
            same(part(proxy, 50, 149), a.body(), 50, 149)
        whole(proxy.get("/a"), a.body())
        assert origin.count() == 2


def test_an_origin_without_ranges() -> None:
    a = Ranged()
    a.ranges = False
    with serving(a) as (origin, proxy):
        got = part(proxy, 10, 19)
        same(got, a.body(), 10, 19)
        assert is_hit(proxy.get("/a"))
        assert origin.count() == 1


@pytest.mark.parametrize("full", [False, True], ids=["range", "whole"])
def test_the_rest_breaks_off(full: bool) -> None:
    a = Ranged(length=100_000)
    body = a.body()

    def rule(request: Request) -> Reply | None:
        if not request["if-range"]:
            return a(request)
        made = a(request).encode()
        request.conn.send(made[: len(made) - 10_000])
        request.conn.close()
        return None

    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        part(proxy, 0, 49_999)
        with proxy.client() as client:
            client.request("GET", "/a", None if full else {"Range": "bytes=100-99999"})
            got = client.read_response(tolerate_abort=True)
        assert got.aborted
        assert got.body == body[0 if full else 100 :][: len(got.body)]
        same(part(proxy, 0, 49_999), body, 0, 49_999)  # what was there is still good
        assert origin.count() == 2


# --- failures of the origin


def test_stale_parts_while_the_origin_fails() -> None:
    a = Ranged(max_age=60)
    with serving(a, {"stale_if_error": "1h"}) as (origin, proxy):
        part(proxy, 0, 99)
        proxy.advance(61)
        a.status = 503
        with proxy.outcomes(stale_sie=1):
            same(part(proxy, 0, 9), a.body(), 0, 9)
        assert part(proxy, 50, 149).status == 503
        assert proxy.get("/a").status == 503
        a.status = None
        same(part(proxy, 50, 149), a.body(), 50, 149)
        origin.stop_listening()
        proxy.advance(61)
        same(part(proxy, 50, 149), a.body(), 50, 149)
        assert part(proxy, 140, 159).status == 502


def test_must_revalidate_forbids_stale_parts() -> None:
    a = Ranged(max_age=60, fields=[("Cache-Control", "must-revalidate")])
    with serving(a) as (_, proxy):
        part(proxy, 0, 99)
        proxy.advance(61)
        a.status = 503
        assert part(proxy, 0, 9).status == 503


# --- variants, purges, reloads


def test_parts_of_variants_are_kept_apart() -> None:
    red, blue = Ranged(fields=[("Vary", "Colour")]), Ranged(fields=[("Vary", "Colour")])
    blue.change()

    def rule(request: Request) -> Reply:
        return (red if request["colour"] == "red" else blue)(request)

    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        for _ in range(2):
            same(part(proxy, 0, 99, Colour="red"), red.body(), 0, 99)
            same(part(proxy, 0, 99, Colour="blue"), blue.body(), 0, 99)
        assert origin.count() == 2
        whole(proxy.get("/a", {"Colour": "red"}), red.body())
        whole(proxy.get("/a", {"Colour": "blue"}), blue.body())
        assert [r["range"] for r in origin.requests[2:]] == ["bytes=100-999"] * 2
        whole(proxy.get("/a", {"Colour": "red"}), red.body())
        assert origin.count() == 4


def test_a_successful_unsafe_request_ends_the_parts() -> None:
    a = Ranged()

    def rule(request: Request) -> Reply:
        return reply(204) if request.method == "POST" else a(request)

    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        part(proxy, 0, 99)
        a.change()
        proxy.ask("POST", "/a", body=b"x")
        same(part(proxy, 0, 99), a.body(2), 0, 99)
        assert asked(origin)[-1] == ("bytes=0-99", None, None)


def test_a_purge_while_a_part_is_on_its_way() -> None:
    a = Ranged()
    gone = Signal()

    def rule(request: Request) -> Reply | None:
        if request.method == "POST":
            return reply(204)
        if a.version > 1:
            return a(request)
        made = a(request).encode()
        request.conn.send(made[:-50])
        gone.wait()
        request.conn.send(made[-50:])
        return None

    with Origin(rule) as origin, Proxy(site(origin)) as proxy, Crew() as crew:
        task = crew.start(part, proxy, 0, 99)
        origin.wait_for(1)
        proxy.ask("POST", "/a", body=b"x")
        body = a.body(1)
        a.change()
        gone.set()
        same(task.result(), body, 0, 99)  # it had begun before
        same(part(proxy, 0, 99), a.body(2), 0, 99)


def test_a_whole_response_takes_the_place_of_parts() -> None:
    """Parts that a complete response has replaced do not come back when that is gone."""
    a = Ranged(max_age=60)
    with serving(a) as (origin, proxy):
        part(proxy, 300, 399)
        a.change()
        whole(proxy.get("/a"), a.body(2))
        same(part(proxy, 300, 399), a.body(2), 300, 399)
        assert parts_stored(proxy) == 0
        assert origin.count() == 2


def test_the_number_of_parts_is_bounded() -> None:
    a = Ranged(length=2000)
    with serving(a) as (_, proxy), proxy.client() as client:
        for first in range(0, 1600, 20):
            got = client.get("/a", {"Range": f"bytes={first}-{first + 9}"})
            same(got, a.body(), first, first + 9)
        assert parts_stored(proxy) == 64
        same(part(proxy, 1580, 1589), a.body(), 1580, 1589)
        whole(proxy.get("/a"), a.body())


def test_different_ranges_at_once() -> None:
    a = Ranged(length=200_000)
    body = a.body()
    with serving(a) as (_, proxy), Crew() as crew:
        spans = [(first, first + 30_000) for first in range(0, 160_000, 10_000)]
        tasks = [crew.start(part, proxy, first, last) for first, last in spans]
        tasks.append(crew.start(proxy.get, "/a"))
        for (first, last), task in zip(spans, tasks, strict=False):
            same(task.result(), body, first, last)
        whole(tasks[-1].result(), body)
        for first, last in spans:
            same(part(proxy, first, last), body, first, last)
        whole(proxy.get("/a"), body)


def test_a_part_larger_than_the_store_is_passed() -> None:
    a = Ranged(length=3_000_000)
    with Origin(a) as origin, Proxy(site(origin, store={"memory": "2 MiB"})) as proxy:
        for _ in range(2):
            same(part(proxy, 100, 2_900_000), a.body(), 100, 2_900_000)
        assert origin.count() == 2


def test_parts_larger_than_the_limit_are_passed() -> None:
    a = Ranged(length=100_000)
    with Origin(a) as origin, Proxy(site(origin, limits={"object": "32 KiB"})) as proxy:
        for _ in range(2):
            same(part(proxy, 0, 59_999), a.body(), 0, 59_999)
        for _ in range(2):
            same(part(proxy, 0, 9_999), a.body(), 0, 9_999)
        whole(proxy.get("/a"), a.body())
        assert asked(origin)[-1] == (None, None, None)  # the whole would not fit, so nothing is put together
        assert origin.count() == 4


def test_explain_names_the_parts() -> None:
    from cdn.proxy.explaining import explain

    a = Ranged()
    with serving(a) as (_, proxy):
        part(proxy, 0, 99)
        part(proxy, 200, 299)
        told = explain(proxy._worker.site, "http://site.test/a", [])
        assert told["parts"]["spans"] == [[0, 99], [200, 299]]
        assert told["parts"]["length"] == 1000
