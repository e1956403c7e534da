"""Parts of a representation (RFC 9111 §3.3, §3.4; RFC 9110 §14.4, §15.3.7.3)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdn.rules.outcome import NoStoreReason as No
from cdn.rules.partial import (
    MAX_SPANS,
    ContentRange,
    Part,
    combine,
    completing_request,
    decide_part,
    parse_content_range,
)
from cdn.rules.storing import DontStore
from tests.rules.make import NOW, POLICY, fields, lines_of, request, response, stored

CONTENT_RANGES = [
    ("Content-Range: bytes 0-4/10", ContentRange(0, 4, 10)),
    ("Content-Range: BYTES 0-4/10", ContentRange(0, 4, 10)),
    ("Content-Range: bytes 5-9/10", ContentRange(5, 9, 10)),
    ("Content-Range: bytes 0-0/*", ContentRange(0, 0, None)),
    ("Content-Range: bytes 0-10/10", None),
    ("Content-Range: bytes 4-0/10", None),
    ("Content-Range: bytes */10", None),
    ("Content-Range: bytes 0-4", None),
    ("Content-Range: bytes=0-4/10", None),
    ("Content-Range: bytes 0-4/10x", None),
    ("Content-Range: items 0-4/10", None),
    ("Content-Range: bytes 0-9999999999999999999/99999999999999999999", None),
    ("Content-Range: bytes 0-4/10 | Content-Range: bytes 0-4/10", None),
    ("", None),
]


@pytest.mark.parametrize(("lines", "found"), CONTENT_RANGES)
def test_content_range(lines, found):
    assert parse_content_range(fields(*lines_of(lines))) == found


PART = 'Cache-Control: max-age=60 | ETag: "a" | Content-Range: bytes 0-4/10'
KEEPING = [
    (PART, 206, None),
    ('Cache-Control: max-age=60 | ETag: "a" | Content-Range: bytes 0-4/*', 206, None),
    ('ETag: "a" | Content-Range: bytes 0-4/10', 206, None),
    (PART, 200, No.PARTIAL),
    ('Cache-Control: max-age=60 | ETag: W/"a" | Content-Range: bytes 0-4/10', 206, None),
    ("Cache-Control: max-age=60 | Last-Modified: {-9} | Content-Range: bytes 0-4/10", 206, None),
    ("Cache-Control: max-age=60 | Content-Range: bytes 0-4/10", 206, None),
    ("Content-Range: bytes 0-4/10", 206, No.NO_FRESHNESS),
    ('Cache-Control: max-age=60 | ETag: "a" | Content-Type: multipart/byteranges', 206, No.PARTIAL),
    (PART + " | Cache-Control: no-store", 206, No.NO_STORE),
    (PART + " | Cache-Control: private", 206, No.PRIVATE),
    ('ETag: "a" | Content-Range: bytes 0-4/10 | Set-Cookie: a=b', 206, No.SET_COOKIE),
    (PART + " | Vary: *", 206, No.VARY_STAR),
]


def decided(lines: str, status: int = 206, method: str = "GET", policy=POLICY):
    asked = request("Range: bytes=0-4", method=method)
    return decide_part(
        asked, response(*lines_of(lines), status=status), policy, request_time=NOW, response_time=NOW
    )


@pytest.mark.parametrize(("lines", "status", "why"), KEEPING)
def test_which_parts_are_kept(lines, status, why):
    made = decided(lines, status)
    assert made == DontStore(why) if why else isinstance(made, Part)


def test_what_a_part_is():
    made = decided(PART + " | X: 1")
    assert (made.spans, made.length, made.complete) == (((0, 4),), 10, False)
    assert (made.stored.status, made.stored.fresh_until) == (200, NOW + 60_000)
    assert "content-range" not in made.stored.fields
    assert made.stored.fields.get("x") == "1"
    assert decided(PART, method="HEAD") == DontStore(No.METHOD)
    assert decided(PART, policy=None) == DontStore(No.ROUTE_OFF)


@pytest.mark.parametrize(
    ("tag", "joinable"), [('ETag: "a"', True), ('ETag: W/"a"', False), ("ETag: a", False), ("X: 1", False)]
)
def test_only_a_strong_tag_joins(tag, joinable):
    made = decided(f"Cache-Control: max-age=60 | {tag} | Content-Range: bytes 0-4/10")
    assert made.joinable is joinable


def part(
    *spans: tuple[int, int], length: int | None = 100, tag: str = '"a"', lines: tuple[str, ...] = ()
) -> Part:
    return Part(stored("Cache-Control: max-age=60", f"ETag: {tag}", *lines), spans, length)


COMBINED = [
    (part((0, 4)), part((5, 9)), ((0, 9),), 100),
    (part((5, 9)), part((0, 4)), ((0, 9),), 100),
    (part((0, 4)), part((3, 9)), ((0, 9),), 100),
    (part((0, 4)), part((6, 9)), ((0, 4), (6, 9)), 100),
    (part((0, 4), (10, 14)), part((5, 9)), ((0, 14),), 100),
    (part((0, 99)), part((5, 9)), ((0, 99),), 100),
    (part((0, 4), length=None), part((5, 9)), ((0, 9),), 100),
    (part((0, 4)), part((5, 9), length=None), ((0, 9),), 100),
    (part((0, 4), length=None), part((5, 9), length=None), ((0, 9),), None),
]


@pytest.mark.parametrize(("old", "new", "spans", "length"), COMBINED)
def test_combining(old, new, spans, length):
    made = combine(old, new)
    assert (made.spans, made.length) == (spans, length)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (part((0, 4)), part((5, 9), tag='"b"')),
        (part((0, 4), tag='W/"a"'), part((5, 9), tag='W/"a"')),
        (part((0, 4)), part((5, 9), length=101)),
        (part((0, 4), length=5), part((5, 9), length=None)),
        (part(*[(i * 4, i * 4) for i in range(MAX_SPANS)], length=1000), part((999, 999), length=1000)),
    ],
)
def test_what_cannot_be_combined(old, new):
    assert combine(old, new) is None


def test_as_many_spans_as_are_kept_track_of():
    spans = [(i * 4, i * 4) for i in range(MAX_SPANS - 1)]
    made = combine(part(*spans, length=1000), part((999, 999), length=1000))
    assert len(made.spans) == MAX_SPANS


def test_the_newer_fields_replace_the_older():
    made = combine(part((0, 4), lines=("A: old", "B: 1")), part((5, 9), lines=("A: new", "A: newer")))
    assert (made.stored.fields.all("a"), made.stored.fields.all("b")) == (["new", "newer"], ["1"])


def test_complete():
    assert part((0, 99)).complete
    assert not part((0, 98)).complete
    assert not part((0, 99), length=None).complete


@pytest.mark.parametrize(
    ("first", "last", "gaps"),
    [
        (10, 19, []),
        (12, 15, []),
        (0, 9, [(0, 9)]),
        (5, 12, [(5, 9)]),
        (15, 25, [(20, 25)]),
        (5, 45, [(5, 9), (20, 29), (40, 45)]),
        (50, 60, [(50, 60)]),
        (19, 30, [(20, 29)]),
    ],
)
def test_gaps(first, last, gaps):
    made = part((10, 19), (30, 39))
    assert made.missing(first, last) == gaps
    assert made.holds(first, last) is (not gaps)


def test_the_rest_is_asked_for_under_the_same_validator():
    sent = completing_request(request("X: 1", "Range: bytes=0-9", 'If-None-Match: "z"'), part((0, 4)), (5, 9))
    assert list(sent) == [("X", "1"), ("Range", "bytes=5-9"), ("If-Range", '"a"')]


_SPANS = st.lists(
    st.tuples(st.integers(0, 99), st.integers(0, 99)).map(sorted).map(tuple), min_size=1, max_size=12
)


@given(_SPANS, st.tuples(st.integers(0, 99), st.integers(0, 99)).map(sorted))
@settings(max_examples=300, deadline=None)
def test_spans_are_the_set_of_their_bytes(spans, wanted):
    made = part(spans[0])
    for span in spans[1:]:
        made = combine(made, part(span))
    there = {at for first, last in spans for at in range(first, last + 1)}
    asked = set(range(wanted[0], wanted[1] + 1))
    assert {at for first, last in made.spans for at in range(first, last + 1)} == there
    assert {at for first, last in made.missing(*wanted) for at in range(first, last + 1)} == asked - there
    assert made.holds(*wanted) is (asked <= there)
    assert made.complete is (there == set(range(100)))
