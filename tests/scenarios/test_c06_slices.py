"""Ranges of what is too large to be fetched for them are fetched and stored in slices (RFC 9110 §14, RFC 9111 §3.4)."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from typing import Any

import pytest

from cdn.proxy.parts_keeping import Promotion
from cdn.proxy.slice_flight import SliceFlight
from tests.harness import Crew, Origin, Reply, Request, Response, Signal, eventually, site
from tests.harness.proxy import Proxy, is_hit, ours
from tests.harness.vast import GIB, KIB, MIB, Vast, content
from tests.scenarios.test_a07_groups_and_tags import purge

S = 256 * KIB  # of the slices here
URL = "http://site.test/a"
STORE = {"memory": "32 MiB", "slice": "256 KiB"}


@contextmanager
def serving(
    resource: Vast, cache: dict[str, object] | None = None, **top: object
) -> Iterator[tuple[Origin, Proxy]]:
    top.setdefault("store", STORE)
    with Origin(resource) as origin, Proxy(site(origin, cache, **top)) as proxy:  # type: ignore[arg-type]
        yield origin, proxy


def part(proxy: Proxy, first: int | str, last: int | str = "", **fields: str) -> Response:
    """The answer to a range, when everything that it has set off is stored."""
    lines = {name.replace("_", "-"): value for name, value in fields.items()}
    got = proxy.get("/a", {"Range": f"bytes={first}-{last}", **lines})
    at_rest(proxy)
    return got


def at_rest(proxy: Proxy) -> None:
    eventually(lambda: not proxy._worker.site.flights, "all flights to land")


def same(got: Response, first: int, last: int, *, version: int = 1, length: int = 10 * GIB) -> None:
    assert got.status == 206, got
    assert got["content-range"] == f"bytes {first}-{last}/{length}"
    assert got["content-length"] == str(last - first + 1)
    assert got.body == content(version, first, last)


def asked(origin: Origin) -> list[str]:
    return [request["range"] or request.method for request in origin.requests]


def spans(*numbers: int) -> list[str]:
    return [f"bytes={number * S}-{(number + 1) * S - 1}" for number in numbers]


def numbers_asked(origin: Origin) -> list[int]:
    """The slices of all requests; several that lie together may be one request's."""
    out: list[int] = []
    for span in asked(origin):
        first, last = (int(word) for word in span.removeprefix("bytes=").split("-"))
        out += range(first // S, last // S + 1)
    return sorted(out)


def head_of(proxy: Proxy, number: int) -> bool:
    """Whether the head of the answer for that slice has come in."""
    flights = [f for f in list(proxy._worker.site.flights.values()) if isinstance(f, SliceFlight)]
    return any(flight.number == number and flight.landed is not None for flight in flights)


def slices_stored(proxy: Proxy) -> int:
    keys: list[bytes] = proxy._worker.site.memory.keys()
    return sum(b"\x00slice\x08" in key for key in keys)


# --- what is fetched


def test_a_range_far_inside_fetches_one_slice_and_is_a_hit_from_then_on() -> None:
    a = Vast()
    first = 5_000_000_000
    with serving(a) as (origin, proxy):
        got = part(proxy, first, first + 100)
        same(got, first, first + 100)
        assert ours(got) == {"fwd": "uri-miss", "ttl": "60", "stored": True}
        assert asked(origin) == spans(first // S)
        eventually(lambda: a.sent == S, "the origin to have counted what it sent")
        for begin, end in (
            (first, first + 100),
            (first + 50, first + 90),
            (first // S * S, first // S * S + S - 1),
        ):
            again = part(proxy, begin, end)
            same(again, begin, end)
            assert is_hit(again)
            assert again["content-type"] == "video/x-test"
        assert origin.count() == 1


FORMS = {
    "first byte": ("bytes=0-0", 0, 0, [0]),
    "last byte of a slice": (f"bytes={S - 1}-{S - 1}", S - 1, S - 1, [0]),
    "first byte of the second": (f"bytes={S}-{S}", S, S, [1]),
    "across a border": (f"bytes={S - 1}-{S}", S - 1, S, [0, 1]),
    "exactly one": (f"bytes={2 * S}-{3 * S - 1}", 2 * S, 3 * S - 1, [2]),
    "three": (f"bytes={S + 5}-{3 * S + 5}", S + 5, 3 * S + 5, [1, 2, 3]),
    "open, near the end": (f"bytes={10 * GIB - 7}-", 10 * GIB - 7, 10 * GIB - 1, [10 * GIB // S - 1]),
    "beyond the end": (f"bytes={10 * GIB - 7}-{20 * GIB}", 10 * GIB - 7, 10 * GIB - 1, [10 * GIB // S - 1]),
    "suffix": ("bytes=-100", 10 * GIB - 100, 10 * GIB - 1, [0, 10 * GIB // S - 1]),
    "suffix of two": (
        f"bytes=-{S + 1}",
        10 * GIB - S - 1,
        10 * GIB - 1,
        [0, *range(10 * GIB // S - 2, 10 * GIB // S)],
    ),
}


@pytest.mark.parametrize(("value", "first", "last", "numbers"), FORMS.values(), ids=FORMS)
def test_every_form_of_a_range(value: str, first: int, last: int, numbers: list[int]) -> None:
    a = Vast()
    with serving(a) as (origin, proxy):
        got = part(proxy, *value.removeprefix("bytes=").split("-"))
        same(got, first, last)
        assert asked(origin) == spans(*numbers)
        again = proxy.get("/a", {"Range": value})
        same(again, first, last)
        assert is_hit(again)
        assert origin.count() == len(numbers)


def test_the_last_slice_is_as_short_as_it_is() -> None:
    length = 3 * S + 10
    a = Vast(length=length)
    with serving(a) as (origin, proxy):
        same(part(proxy, 3 * S), 3 * S, length - 1, length=length)
        assert asked(origin) == spans(3)
        eventually(lambda: a.sent == 10, "the origin to have counted what it sent")
        assert is_hit(part(proxy, "", 5))
        assert origin.count() == 1


@pytest.mark.parametrize("length", [1, 1000, S - 1, S])
def test_what_fits_one_slice_is_stored_as_the_whole_that_it_is(length: int) -> None:
    a = Vast(length=length)
    with serving(a) as (origin, proxy):
        got = part(proxy, 0, 0)
        same(got, 0, 0, length=length)
        with proxy.lanes(hit=3):
            assert proxy.get("/a").body == content(1, 0, length - 1)
            assert proxy.ask("HEAD", "/a")["content-length"] == str(length)
            same(part(proxy, 0), 0, length - 1, length=length)
        assert origin.count() == 1
        assert slices_stored(proxy) == 0


def test_what_lies_behind_the_end_is_the_origins_to_say() -> None:
    a = Vast(length=2 * S)
    with serving(a) as (origin, proxy):
        for _ in range(2):
            got = part(proxy, 9 * S)
            assert (got.status, got["content-range"]) == (416, f"bytes */{2 * S}")
        same(part(proxy, 5, 6), 5, 6, length=2 * S)
        got = part(proxy, 9 * S)
        assert (got.status, got["content-range"]) == (416, f"bytes */{2 * S}")
        assert origin.count() == 4


def test_a_range_that_is_there_in_part() -> None:
    a = Vast()
    with serving(a) as (origin, proxy):
        for number in (0, 2):
            part(proxy, number * S, number * S + 9)
        got = part(proxy, 10, 4 * S - 1)
        same(got, 10, 4 * S - 1)
        assert ours(got)["fwd"] == "partial"
        assert asked(origin)[2:] == spans(1, 3)
        assert [r["if-range"] for r in origin.requests] == [None, '"v1"', '"v1"', '"v1"']
        got = part(proxy, 0, 4 * S - 1)
        same(got, 0, 4 * S - 1)
        assert is_hit(got)


# --- many at once


def test_everybody_on_a_cold_slice_shares_one_request_whatever_their_ranges() -> None:
    a = Vast()
    go = Signal()
    a.before = lambda request, first: go.wait()
    with serving(a) as (origin, proxy), Crew() as crew:
        ranges = [(7 * S + 10 * n, 7 * S + 10 * n + 5) for n in range(20)]
        tasks = [crew.start(part, proxy, first, last) for first, last in ranges]
        eventually(lambda: proxy.stats()["exchanges"] == 20, "all to wait")
        go.set()
        for task, (first, last) in zip(tasks, ranges, strict=True):
            same(task.result(), first, last)
        assert asked(origin) == spans(7)


def test_two_clients_read_the_same_film_and_one_of_them_is_slow() -> None:
    a = Vast(length=8 * S)
    with serving(a) as (origin, proxy):
        with proxy.client() as slow, proxy.client() as fast:
            slow.request("GET", "/a", {"Range": "bytes=0-"})
            _, body = slow.read_head()
            begin = b""
            while len(begin) < S // 2:
                begin += body.some()
            got = fast.get("/a", {"Range": "bytes=0-"})
            same(got, 0, 8 * S - 1, length=8 * S)
            assert begin + body.rest() == content(1, 0, 8 * S - 1)
        assert numbers_asked(origin) == list(range(8))


def test_the_first_byte_waits_for_its_slice_only() -> None:
    a = Vast()
    go = Signal()
    a.before = lambda request, first: go.wait() if first else None
    with serving(a) as (origin, proxy), proxy.client() as client:
        client.request("GET", "/a", {"Range": f"bytes=100-{6 * S}"})
        head, body = client.read_head()
        assert head.status == 206
        data = b""
        while len(data) < S - 100:
            data += body.some()
        origin.wait_for(3)
        proxy.settle()
        # the one that is read, and one ahead of it; two, if that one was waited for
        assert asked(origin) in (spans(0, 1, 2), [*spans(0, 1), f"bytes={2 * S}-{4 * S - 1}"])
        go.set()
        assert data + body.rest() == content(1, 100, 6 * S)


def test_a_slice_that_has_grown_stale_on_its_way_is_not_joined() -> None:
    """Who came when its response was too old already was answered with it, because somebody had just been told it."""
    a = Vast()
    go = Signal()
    a.before = lambda request, first: (
        go.wait() if request["range"] == spans(1)[0] and a.version == 1 else None
    )
    with serving(a) as (origin, proxy), proxy.client() as client:
        client.request("GET", "/a", {"Range": f"bytes=0-{2 * S - 1}"})
        _, body = client.read_head()
        begin = b""
        while len(begin) < S:
            begin += body.some()
        origin.wait_for(2)
        eventually(lambda: head_of(proxy, 1), "the second slice's head")
        proxy.advance(a.max_age + 1)
        a.change()
        try:
            got = proxy.get("/a", {"Range": f"bytes={S}-{S + 9}"})
            same(got, S, S + 9, version=2)
        finally:
            go.set()
        assert begin + body.rest() == content(1, 0, 2 * S - 1)


# --- another representation


def test_a_change_that_shows_before_our_head_is_healed() -> None:
    a = Vast()
    with serving(a) as (origin, proxy):
        part(proxy, 0, 99)
        a.change()
        got = part(proxy, 5 * S, 5 * S + 9)
        same(got, 5 * S, 5 * S + 9, version=2)
        assert [(r["range"], r["if-range"]) for r in origin.requests[1:]] == [
            (spans(5)[0], '"v1"'),
            (spans(5)[0], None),
        ]
        assert a.sent <= 3 * S + 5 * MIB  # the whole that came instead was broken off
        same(part(proxy, 0, 99), 0, 99, version=2)
        assert origin.count() == 4


def test_a_change_that_shows_later_cuts_the_client() -> None:
    a = Vast()
    with serving(a) as (_, proxy):
        part(proxy, 0, 99)
        part(proxy, S, S + 9)
        a.change()
        with proxy.client() as client:
            client.request("GET", "/a", {"Range": f"bytes=0-{4 * S - 1}"})
            got = client.read_response(tolerate_abort=True)
        assert got.aborted
        assert got.body == content(1, 0, 2 * S - 1)[: len(got.body)]
        same(part(proxy, 0, 99), 0, 99, version=2)
        same(part(proxy, 3 * S, 3 * S + 5), 3 * S, 3 * S + 5, version=2)


def test_nothing_waits_for_the_garbage_collector_when_a_client_is_cut() -> None:
    """A fill that is kept by a cycle keeps its room in the store."""
    a = Vast()

    def change(request: Request, first: int) -> None:
        if first == S:
            a.change()

    a.before = change
    gc.collect()
    gc.disable()
    try:
        with serving(a) as (_, proxy):
            client = proxy.client()
            client.request("GET", "/a", {"Range": f"bytes=0-{3 * S - 1}"})
            assert client.read_response(tolerate_abort=True).aborted
            at_rest(proxy)

            def flights() -> list[object]:
                return [one for one in gc.get_objects() if isinstance(one, SliceFlight)]

            eventually(lambda: not flights(), "the flights to be forgotten")
    finally:
        gc.enable()


def test_a_shrunk_representation() -> None:
    a = Vast()
    with serving(a) as (_, proxy):
        part(proxy, 0, 99)
        a.change(length=2 * S)
        got = part(proxy, 5 * S, 5 * S + 9)
        assert (got.status, got["content-range"]) == (416, f"bytes */{2 * S}")
        same(part(proxy, 0, 99), 0, 99, version=2, length=2 * S)


def test_stale_slices_are_validated_and_renewed_together() -> None:
    a = Vast()
    with serving(a) as (origin, proxy):
        for number in range(3):
            part(proxy, number * S, number * S + 9)
        proxy.advance(61)
        got = part(proxy, S, S + 9)
        same(got, S, S + 9)
        assert ours(got)["fwd"] == "stale"
        assert origin.last["if-none-match"] == '"v1"'
        assert is_hit(part(proxy, 0, 9))
        assert is_hit(part(proxy, 2 * S, 2 * S + 9))
        assert origin.count() == 4
        eventually(lambda: a.sent == 3 * S, "the origin to have counted what it sent")


def test_stale_slices_of_a_changed_representation() -> None:
    a = Vast()
    with serving(a) as (origin, proxy):
        for number in range(3):
            part(proxy, number * S, number * S + 9)
        proxy.advance(61)
        a.change()
        same(part(proxy, S, S + 9), S, S + 9, version=2)
        assert origin.count() == 4
        same(part(proxy, 0, 9), 0, 9, version=2)
        assert is_hit(part(proxy, S, S + 9))


def test_a_slice_that_answers_if_range_renews_what_is_stale() -> None:
    a = Vast()
    with serving(a) as (origin, proxy):
        part(proxy, 0, 9)
        proxy.advance(61)
        same(part(proxy, S, S + 9), S, S + 9)
        assert is_hit(part(proxy, 0, 9))
        assert asked(origin) == spans(0, 1)


# --- origins that do not play along


def test_an_origin_without_ranges_is_hardly_asked_twice() -> None:
    """Those who ask for the same slice share its answer; of two that had left, one is read to its end."""
    a = Vast(length=3 * S)
    a.ranges = False
    go = Signal()
    a.before = lambda request, first: go.wait()
    with serving(a) as (origin, proxy), Crew() as crew:
        firsts = range(0, 2 * S, S // 4)
        tasks = [crew.start(proxy.get, "/a", {"Range": f"bytes={n}-{n + 9}"}) for n in firsts]
        origin.wait_for(1)
        go.set()
        for n, task in zip(firsts, tasks, strict=True):
            same(task.result(), n, n + 9, length=3 * S)
        at_rest(proxy)
        assert is_hit(part(proxy, S, S + 9))
        assert origin.count() <= 3  # one more where somebody came between an answer and its fill
        assert a.sent <= 3 * S + 2 * MIB


def test_an_origin_without_ranges_is_asked_for_everything_from_then_on() -> None:
    a = Vast(length=3 * S, max_age=0, fields=[("Cache-Control", "must-revalidate")])
    a.ranges = False
    with serving(a) as (origin, proxy):
        part(proxy, 0, 9)
        part(proxy, S, S + 9)
        assert origin.last["if-none-match"] == '"v1"'  # stored whole, and validated like anything
        eventually(lambda: a.sent == 3 * S, "the origin to have counted what it sent")


UNFIT = {
    "weak entity-tag": {"ETag": 'W/"v1"'},
    "no validator": {"ETag": ""},
    "no length": {"Content-Range": "bytes 1310720-1572863/*"},
    "other bytes": {"Content-Range": "bytes 1310721-1572864/10737418240"},
    "fewer bytes": {"Content-Range": "bytes 1310720-1572862/10737418240"},
    "more bytes": {"Content-Range": "bytes 1310720-1572864/10737418240"},
    "no Content-Range": {"Content-Range": ""},
    "two": {"X": "\r\nContent-Range: bytes 0-9/10"},
    "no-store": {"Cache-Control": "no-store"},
    "private": {"Cache-Control": "private, max-age=60"},
    "varies by everything": {"Vary": "*"},
    "multipart": {"Content-Range": "", "Content-Type": "multipart/byteranges; boundary=x"},
}


@pytest.mark.parametrize("changed", UNFIT.values(), ids=UNFIT)
def test_what_is_no_slice_is_asked_for_as_the_client_did(changed: dict[str, str]) -> None:
    """Nothing of it is stored, and for a while slices are not asked for again."""
    a = Vast()

    def twist(request: Request, made: Reply) -> Reply:
        if request["range"] in spans(5):
            there = {name.lower() for name in changed}
            kept = [line for line in made.fields if line[0].lower() not in there]
            made.fields = [*kept, *((name, value) for name, value in changed.items() if value)]
        return made

    a.change_reply = twist
    first = 5 * S + 100
    with serving(a, {"slices": True}) as (origin, proxy):
        got = part(proxy, first, first + 9)
        same(got, first, first + 9)
        assert asked(origin) == [*spans(5), f"bytes={first}-{first + 9}"]
        assert slices_stored(proxy) == 0
        same(part(proxy, first + 20, first + 29), first + 20, first + 29)
        assert asked(origin)[2:] == [f"bytes={first + 20}-{first + 29}"]
        proxy.advance(61)
        a.change_reply = lambda request, made: made
        same(part(proxy, 7 * S, 7 * S + 9), 7 * S, 7 * S + 9)
        assert asked(origin)[3:] == spans(7)


@pytest.mark.parametrize("other", ["length", "tag"])
def test_a_slice_of_something_else_in_spite_of_if_range(other: str) -> None:
    a = Vast()

    def twist(request: Request, made: Reply) -> Reply:
        if request["if-range"] and request["range"] in spans(1):
            changed = (
                ("ETag", '"v9"') if other == "tag" else ("Content-Range", f"bytes {S}-{2 * S - 1}/{9 * GIB}")
            )
            made.fields = [line for line in made.fields if line[0] != changed[0]] + [changed]
        return made

    a.change_reply = twist
    with serving(a) as (_, proxy):
        part(proxy, 0, 9)
        with proxy.client() as client:  # found out in mid-body: nothing of it reaches the client
            client.request("GET", "/a", {"Range": f"bytes=0-{4 * S}"})
            got = client.read_response(tolerate_abort=True)
        at_rest(proxy)
        if not got.aborted:
            same(got, 0, 4 * S)  # asked again before the head was out
        assert got.body == content(1, 0, 4 * S)[: len(got.body)]
        same(part(proxy, 0, 9), 0, 9)


def test_a_slice_that_breaks_off_is_asked_for_once_more() -> None:
    a = Vast()
    a.cut_at = S + 1000

    def heal(request: Request, first: int) -> None:
        if first == S and len([r for r in asked_now if r in spans(1)]) > 1:
            a.cut_at = None

    asked_now: list[str] = []
    a.before = lambda request, first: (asked_now.append(request["range"] or ""), heal(request, first))
    with serving(a) as (origin, proxy):
        got = part(proxy, 10, 3 * S)
        same(got, 10, 3 * S)
        assert numbers_asked(origin) == [0, 1, 1, 2, 3]


def test_a_slice_that_always_breaks_off_cuts_the_client_and_is_not_stored() -> None:
    a = Vast()
    a.cut_at = S + 1000
    with serving(a) as (origin, proxy):
        with proxy.client() as client:
            client.request("GET", "/a", {"Range": f"bytes=0-{3 * S}"})
            got = client.read_response(tolerate_abort=True)
        assert got.aborted
        assert got.body == content(1, 0, 3 * S)[: len(got.body)]
        at_rest(proxy)
        assert slices_stored(proxy) <= 3  # what lies behind it may have come ahead, whole
        assert asked(origin).count(spans(1)[0]) == 2
        a.cut_at = None
        same(part(proxy, S, S + 5000), S, S + 5000)


def test_an_origin_that_fails() -> None:
    a = Vast()
    with serving(a, {"stale_if_error": "1h"}) as (origin, proxy):
        a.status = 503
        assert part(proxy, 0, 9).status == 503
        a.status = None
        part(proxy, 0, 9)
        proxy.advance(61)
        a.status = 503
        with proxy.outcomes(stale_sie=1):
            same(part(proxy, 0, 9), 0, 9)
        assert part(proxy, S, S + 9).status == 503
        origin.stop_listening()
        same(part(proxy, 5, 9), 5, 9)
        assert part(proxy, S, S + 9).status == 502


# --- validators


THEN = "Thu, 01 Jan 2015 00:00:00 GMT"


def test_slices_are_joined_by_a_date_that_is_old_enough() -> None:
    a = Vast()
    a.tag, a.modified, a.date = (lambda version: None), THEN, formatdate(usegmt=True)
    with serving(a, {"override_ttl": "1h"}) as (origin, proxy):
        part(proxy, 0, 9)
        same(part(proxy, 5, S + 9), 5, S + 9)
        assert origin.last["if-range"] == THEN
        assert is_hit(part(proxy, 0, S + 100))
        a.modified = "Fri, 02 Jan 2015 00:00:00 GMT"
        a.change()
        same(part(proxy, 4 * S, 4 * S + 9), 4 * S, 4 * S + 9, version=2)


@pytest.mark.parametrize("date", ["Thu, 01 Jan 2015 00:00:59 GMT", None])
def test_slices_are_not_joined_by_a_date_that_proves_nothing(date: str | None) -> None:
    a = Vast()
    a.tag, a.modified, a.date = (lambda version: None), THEN, date
    with serving(a, {"override_ttl": "1h"}) as (origin, proxy):
        same(part(proxy, 5, S + 9), 5, S + 9)
        assert asked(origin) == [*spans(0), f"bytes=5-{S + 9}"]
        assert slices_stored(proxy) == 0


@pytest.mark.parametrize("weak", [True, False])
def test_what_fits_one_slice_needs_no_validator(weak: bool) -> None:
    a = Vast(length=1000)
    a.tag = lambda version: 'W/"v1"' if weak else None
    with serving(a) as (origin, proxy):
        same(part(proxy, 5, 9), 5, 9, length=1000)
        assert proxy.get("/a").body == content(1, 0, 999)
        assert origin.count() == 1


def test_if_range_of_a_client() -> None:
    a = Vast(length=4 * S)
    with serving(a) as (origin, proxy):
        same(part(proxy, 5, 9, If_Range='"v1"'), 5, 9, length=4 * S)
        assert origin.last["if-range"] is None  # the slice is for everybody
        same(part(proxy, 5, 9, If_Range='"v1"'), 5, 9, length=4 * S)
        assert origin.count() == 1
        got = part(proxy, 5, 9, If_Range='"v0"')
        assert (got.status, got.body) == (200, content(1, 0, 4 * S - 1))


def test_conditions_of_a_client() -> None:
    a = Vast()
    with serving(a) as (origin, proxy):
        part(proxy, 0, 99)
        assert part(proxy, 0, 9, If_None_Match='"v1"').status == 304
        same(part(proxy, 0, 9, If_None_Match='"v0"'), 0, 9)
        assert origin.count() == 1
        assert part(proxy, S, S + 9, If_None_Match='"v1"').status == 304
        assert origin.last["if-none-match"] == '"v1"'


def test_directives_of_a_client() -> None:
    a = Vast()
    with serving(a) as (origin, proxy):
        assert part(proxy, 0, 9, Cache_Control="only-if-cached").status == 504
        same(part(proxy, 0, 9, Cache_Control="no-store"), 0, 9)
        assert asked(origin) == ["bytes=0-9"]
        part(proxy, 0, 9)
        same(part(proxy, 2, 9, Cache_Control="only-if-cached"), 2, 9)
        assert part(proxy, S, S + 9, Cache_Control="only-if-cached").status == 504
        got = part(proxy, 2, 9, Cache_Control="no-cache")
        assert ours(got)["fwd"] == "request"
        assert origin.last["if-none-match"] == '"v1"'


def test_stale_while_revalidate() -> None:
    a = Vast(fields=[("Cache-Control", "stale-while-revalidate=60")])
    with serving(a) as (origin, proxy):
        part(proxy, 0, 9)
        proxy.advance(61)
        with proxy.outcomes(stale_swr=1):
            same(part(proxy, 0, 9), 0, 9)
        assert origin.count() == 2
        assert is_hit(part(proxy, 0, 9))


# --- variants, purges, bounds


def test_variants_have_their_own_slices() -> None:
    red, blue = Vast(fields=[("Vary", "Colour")]), Vast(fields=[("Vary", "Colour")])
    blue.change()

    def rule(request: Request) -> Reply | None:
        return (red if request["colour"] == "red" else blue)(request)

    with Origin(rule) as origin, Proxy(site(origin, store=STORE)) as proxy:
        for _ in range(2):
            same(part(proxy, 0, S, Colour="red"), 0, S)
            same(part(proxy, 0, S, Colour="blue"), 0, S, version=2)
        assert origin.count() == 4
        with proxy.lanes(hit=2):
            same(part(proxy, 3, 9, Colour="red"), 3, 9)
            same(part(proxy, 3, 9, Colour="blue"), 3, 9, version=2)


def test_clients_of_different_variants_on_one_cold_slice() -> None:
    red, blue = Vast(fields=[("Vary", "Colour")]), Vast(fields=[("Vary", "Colour")])
    blue.change()
    go = Signal()
    red.before = blue.before = lambda request, first: go.wait()

    def rule(request: Request) -> Reply | None:
        return (red if request["colour"] == "red" else blue)(request)

    with Origin(rule) as origin, Proxy(site(origin, store=STORE)) as proxy, Crew() as crew:
        tasks = [
            (colour, crew.start(proxy.get, "/a", {"Range": "bytes=0-9", "Colour": colour}))
            for colour in ("red", "blue") * 4
        ]
        origin.wait_for(1)
        proxy.settle()
        go.set()
        for colour, task in tasks:
            same(task.result(), 0, 9, version=1 if colour == "red" else 2)


WAYS = {
    "url": {"urls": [URL]},
    "tag": {"tags": ["red"]},
    "prefix": {"prefixes": ["http://site.test/"]},
    "host": {"hosts": ["site.test"]},
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_purge_reaches_every_slice(way: dict[str, list[str]]) -> None:
    """Also where the representation, by its validator, is still the same."""
    a = Vast(fields=[("Cache-Tag", "red")])
    with serving(a) as (origin, proxy):
        for number in range(4):
            part(proxy, number * S, number * S + 9)
        purge(proxy, **way)  # type: ignore[arg-type]
        a.version, a.tag = 2, lambda version: '"v1"'  # an origin that forgot to name it anew
        for number in (2, 0, 3, 1):
            same(part(proxy, number * S, number * S + 9), number * S, number * S + 9, version=2)
        assert origin.count() == 8


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_purge_while_a_slice_is_in_flight(way: dict[str, list[str]]) -> None:
    a = Vast(fields=[("Cache-Tag", "red")])
    go = Signal()
    a.before = lambda request, first: go.wait()
    with serving(a) as (_, proxy), Crew() as crew:
        task = crew.start(proxy.get, "/a", {"Range": "bytes=0-9"})
        eventually(
            lambda: proxy._worker.site.flights and all(f.landed for f in proxy._worker.site.flights.values())
        )
        purge(proxy, **way)  # type: ignore[arg-type]
        go.set()
        same(task.result(), 0, 9)
        at_rest(proxy)
        assert slices_stored(proxy) == 0
        a.version, a.tag = 2, lambda version: '"v1"'
        same(part(proxy, 0, 9), 0, 9, version=2)


def test_several_ranges() -> None:
    a = Vast()
    with serving(a) as (origin, proxy):
        part(proxy, 0, 9)
        got = proxy.get("/a", {"Range": f"bytes=5-9,{S}-{S + 4},{9 * S}-{9 * S + 4}"})
        assert got.status == 206
        assert (got["content-type"] or "").startswith("multipart/byteranges")
        for first in (5, S, 9 * S):
            assert content(1, first, first + 4) in got.body
        at_rest(proxy)
        assert sorted(asked(origin)[1:]) == sorted(spans(1, 9))


def test_slices_come_and_go_by_themselves() -> None:
    """Far more is asked for than the store holds: what is gone is fetched again, under the same validator."""
    a = Vast()
    with serving(a, store={"memory": "4 MiB", "slice": "64 KiB"}) as (_, proxy):
        for number in [*range(0, 120, 3), *range(0, 120, 7), 0, 1, 2]:
            first = number * 65536 + 5
            same(part(proxy, first, first + 70_000), first, first + 70_000)
        assert proxy._worker.site.memory.audit()["filling_runs"] == 0


# --- everything


def test_the_whole_of_what_is_there_in_slices() -> None:
    a = Vast(length=4 * S)
    with serving(a) as (origin, proxy):
        part(proxy, 0, 4 * S - 1)
        got = proxy.get("/a")
        assert got.body == content(1, 0, 4 * S - 1)
        assert is_hit(got)
        at_rest(proxy)
        with proxy.lanes(hit=2):
            assert proxy.get("/a").body == content(1, 0, 4 * S - 1)
            assert proxy.ask("HEAD", "/a")["content-length"] == str(4 * S)
        assert slices_stored(proxy) == 0  # the whole has taken their place
        assert numbers_asked(origin) == [0, 1, 2, 3]


def test_a_changed_whole_is_not_replaced_by_the_slices_before_it() -> None:
    a = Vast(length=4 * S)
    with serving(a) as (_, proxy):
        part(proxy, 0, 4 * S - 1)
        a.change()
        got = proxy.get("/a", {"Cache-Control": "no-cache"})
        assert got.body == content(2, 0, 4 * S - 1)
        at_rest(proxy)
        got = proxy.get("/a")
        assert got.body == content(2, 0, 4 * S - 1)
        assert is_hit(got)


@contextmanager
def becoming_a_whole(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Vast, Origin, Proxy]]:
    """All slices are there and are being copied to where the whole belongs; that goes on when the block ends."""
    a, go_on = Vast(length=4 * S), threading.Event()
    digest = Promotion.digest

    async def held_up(self: Promotion, *args: Any) -> None:
        await asyncio.to_thread(go_on.wait, 20)
        await digest(self, *args)

    monkeypatch.setattr(Promotion, "digest", held_up)
    with serving(a) as (origin, proxy):
        part(proxy, 0, 4 * S - 1)
        assert is_hit(proxy.get("/a"))
        try:
            yield a, origin, proxy
        finally:
            go_on.set()
            at_rest(proxy)


def test_slices_becoming_a_whole_give_way_to_what_the_origin_has_by_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with becoming_a_whole(monkeypatch) as (a, _, proxy):
        a.change()
        got = proxy.get("/a", {"Cache-Control": "no-cache"})
        assert got.body == content(2, 0, 4 * S - 1)
        eventually(lambda: is_hit(proxy.get("/a")), "the new one to be stored")
        assert proxy.get("/a").body == content(2, 0, 4 * S - 1)


def test_who_wants_the_origin_asked_does_not_join_slices_becoming_a_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with becoming_a_whole(monkeypatch) as (a, origin, proxy), Crew() as crew:
        a.change()
        memory = proxy._worker.site.memory
        stored = memory.keys()
        (listed,) = (key for key in stored if key.endswith(b"slices"))
        memory.remove(listed)  # as an eviction may
        before = origin.count()
        got = crew.start(proxy.get, "/a", {"Cache-Control": "no-cache"})
        eventually(lambda: origin.count() == before + 1, "the origin to be asked")
        assert got.result(10).body == content(2, 0, 4 * S - 1)


def test_the_whole_fetches_what_is_missing() -> None:
    a = Vast(length=6 * S)
    with serving(a) as (origin, proxy):
        part(proxy, 0, 9)
        part(proxy, 5 * S, 5 * S + 9)
        got = proxy.get("/a")
        assert got.body == content(1, 0, 6 * S - 1)
        assert ours(got)["fwd"] == "partial"
        assert asked(origin)[2:] == [f"bytes={S}-{5 * S - 1}"]
        assert is_hit(proxy.get("/a"))


def test_a_plain_miss_is_never_turned_into_a_range() -> None:
    a = Vast(length=6 * S)
    with serving(a) as (origin, proxy):
        assert proxy.get("/a").body == content(1, 0, 6 * S - 1)
        assert asked(origin) == ["GET"]


def test_a_reload_with_other_slices_starts_anew() -> None:
    from cdn import config
    from tests.harness import yaml_text

    a = Vast()
    with serving(a) as (origin, proxy):
        part(proxy, 0, 9)
        assert proxy._loop is not None
        tree = proxy.tree | {"store": {"memory": "32 MiB", "slice": "128 KiB"}}
        parsed = config.parse(yaml_text(tree), "test.yaml", proxy.home)
        proxy._loop.call_soon_threadsafe(proxy._worker.reload, parsed)
        proxy.settle()
        same(part(proxy, 0, 9), 0, 9)
        assert asked(origin)[1:] == ["bytes=0-131071"]


def test_a_route_may_do_without_slices() -> None:
    a = Vast()
    with serving(a, {"slices": False}) as (origin, proxy):
        same(part(proxy, 5, 9), 5, 9)
        assert asked(origin) == ["bytes=5-9"]


# --- the hit lane


def both_lanes(
    proxy: Proxy, first: int | str, last: int | str = "", **fields: str
) -> tuple[Response, Response]:
    """The same request with and without the hit lane."""
    lane = proxy._worker.lane
    with proxy.lanes(hit=1, general=0):
        fast = part(proxy, first, last, **fields)
    lane.enabled = False
    with proxy.lanes(hit=0, general=1):
        slow = part(proxy, first, last, **fields)
    lane.enabled = True
    return fast, slow


@pytest.mark.parametrize("vary", [False, True])
@pytest.mark.parametrize("length", [100, 16 * KIB, 16 * KIB + 1, S])
def test_a_range_within_one_slice_is_served_by_the_hit_lane(vary: bool, length: int) -> None:
    a = Vast(fields=[("Vary", "Colour")] if vary else [])
    with serving(a) as (origin, proxy):
        part(proxy, 3 * S, 3 * S + 9, Colour="red")
        proxy.advance(2)
        for first in {3 * S, 3 * S + (S - length) // 2, 4 * S - length}:
            fast, slow = both_lanes(proxy, first, first + length - 1, Colour="red")
            same(fast, first, first + length - 1)
            assert (fast.status, fast.fields, fast.body) == (slow.status, slow.fields, slow.body)
        assert origin.count() == 1
        lines = proxy.log(3)
        assert len({line["key"] for line in lines[1:]}) == 1


def test_what_the_hit_lane_leaves_to_others() -> None:
    a = Vast()
    with serving(a) as (_, proxy):
        part(proxy, 0, S)
        with proxy.lanes(hit=0, general=6):
            same(part(proxy, S - 1, S), S - 1, S)
            part(proxy, 0, 9, If_None_Match='"v1"')
            proxy.get("/a", {"Range": "bytes=0-1,5-6"})
            part(proxy, 0, 9, If_Range='"v0"', Cache_Control="only-if-cached")
            part(proxy, 3 * S, 3 * S)
            proxy.ask("HEAD", "/a", {"Range": "bytes=0-9"})
        with proxy.lanes(hit=2, general=0):
            same(part(proxy, 0, 9, If_Range='"v1"'), 0, 9)
            same(part(proxy, S, 2 * S - 1), S, 2 * S - 1)
        proxy.advance(61)
        with proxy.lanes(hit=0, general=1):
            part(proxy, 0, 9)


def test_explain_names_the_slices() -> None:
    from cdn.proxy.explaining import explain

    a = Vast()
    with serving(a) as (_, proxy):
        part(proxy, 0, 9)
        part(proxy, 3 * S, 3 * S + 9)
        told = explain(proxy._worker.site, URL, [])
        assert told["slices"]["there"] == [0, 3]
        assert (told["slices"]["length"], told["slices"]["of"]) == (10 * GIB, S)
        assert told["sliceable"] is True


def test_a_slice_that_stalls_is_asked_for_once_more() -> None:
    a = Vast()
    stalled: list[int] = []

    def stall(request: Request, first: int) -> None:
        if first == S and len(stalled) < 1:
            stalled.append(first)
            request.conn.send(content(1, S, S + 9999))
            request.conn.stall()
            request.conn.close()

    a.before = stall
    with Origin(a) as origin:
        tree = site(origin, store=STORE, origin_timeouts={"between_bytes": "300ms"})
        with Proxy(tree) as proxy:
            same(part(proxy, 10, 2 * S + 10), 10, 2 * S + 10)
            assert stalled == [S]
            assert is_hit(part(proxy, S, S + 9))


def test_head_that_shows_another_version_makes_the_slices_stale() -> None:
    a = Vast()
    with serving(a) as (origin, proxy):
        part(proxy, 0, 99)
        assert proxy.ask("HEAD", "/a")["content-length"] == str(10 * GIB)
        assert is_hit(part(proxy, 0, 9))
        a.change()
        proxy.ask("HEAD", "/a")
        same(part(proxy, 0, 99), 0, 99, version=2)
        assert origin.last["if-none-match"] == '"v1"'


def test_without_room_slices_pass_by_the_store() -> None:
    """A reader that holds what is stored leaves no room; everybody is answered, and told that nothing was kept."""
    a = Vast(length=40 * MIB)
    with serving(a, store={"memory": "1 MiB", "slice": "64 KiB"}) as (_, proxy):
        size = proxy._worker.site.slice
        assert size == 64 * KIB
        with proxy.client(receive_buffer=4096) as slow, proxy.client() as other:
            slow.request("GET", "/a", {"Range": "bytes=0-2000000"})
            _, body = slow.read_head()
            other.request("GET", "/a", {"Range": "bytes=20000000-22000000"})
            got = other.read_response()
            assert got.body == content(1, 20_000_000, 22_000_000)
            assert body.rest() == content(1, 0, 2_000_000)


def test_what_is_longer_than_an_object_may_be_is_asked_for_as_the_client_does() -> None:
    a = Vast(length=10 * GIB + 1)  # the default of `limits.object` is a byte less
    with serving(a) as (origin, proxy):
        for first in (0, 50, 5000):
            same(part(proxy, first, first + 9), first, first + 9, length=10 * GIB + 1)
        assert asked(origin) == [*spans(0), "bytes=0-9", "bytes=50-59", "bytes=5000-5009"]
