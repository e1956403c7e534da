"""Asking the origin again, and what its 304 or HEAD answer changes (RFC 9111 §4.3, §3.2)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cdn.config.values import CachePolicy
from cdn.rules.outcome import NoStoreReason as No
from cdn.rules.storing import DontStore, Store
from cdn.rules.validation import (
    HeadUpdate,
    forward_conditionals,
    freshen,
    head_update,
    is_conditional,
    select_variant,
    selects,
    updated_fields,
    validation_request,
    variants_request,
)
from tests.rules.make import NOW, NOW_S, POLICY, date, fields, lines_of, request, response, stored

LATER = NOW + 100_000
FRESH = "Cache-Control: max-age=60"


def lines(made):
    return [f"{name}: {value}" for name, value in made]


REQUESTS = [
    # §4.3.1: (stored, asked, sent)
    ('ETag: "a"', "", 'If-None-Match: "a"'),
    ('ETag: W/"a"', "", 'If-None-Match: W/"a"'),
    ("Last-Modified: {-9}", "", "If-Modified-Since: {-9}"),
    ('ETag: "a" | Last-Modified: {-9}', "", 'If-None-Match: "a" | If-Modified-Since: {-9}'),
    ("ETag: unquoted", "", "If-None-Match: unquoted"),
    ("Last-Modified: sun, 06 nov 1994 08:49:37 gmt", "", "If-Modified-Since: sun, 06 nov 1994 08:49:37 gmt"),
    ("", "X: 1", "X: 1"),
    # the client's own conditions and ranges are about its own copy
    ('ETag: "a"', 'If-None-Match: "b" | X: 1', 'X: 1 | If-None-Match: "a"'),
    ('ETag: "a"', "If-Modified-Since: {0} | If-Match: * | If-Unmodified-Since: {0}", 'If-None-Match: "a"'),
    ('ETag: "a"', 'Range: bytes=0-1 | If-Range: "a" | X: 1', 'X: 1 | If-None-Match: "a"'),
    ("", 'If-None-Match: "b"', ""),
]


@pytest.mark.parametrize(("has", "asked", "sent"), REQUESTS)
def test_validation_request(has, asked, sent):
    made = validation_request(request(*lines_of(asked)), stored(FRESH, *lines_of(has)))
    assert lines(made) == lines_of(sent)


@pytest.mark.parametrize(
    "name", ["If-None-Match", "If-Modified-Since", "If-Match", "If-Unmodified-Since", "If-Range", "Range"]
)
def test_conditions_go_on_only_when_nobody_else_waits(name):
    asked = request(f"{name}: x", "A: 1")
    assert lines(forward_conditionals(asked, fill=False)) == [f"{name}: x", "A: 1"]
    assert lines(forward_conditionals(asked, fill=True)) == ["A: 1"]


@pytest.mark.parametrize(
    ("asked", "conditional"),
    [('If-None-Match: "a"', True), ("If-Modified-Since: {0}", True), ("Range: bytes=0-", False), ("", False)],
)
def test_is_conditional(asked, conditional):
    assert is_conditional(request(*lines_of(asked))) is conditional


SELECTS = [
    # §4.3.4: (stored, 304, selected)
    ('ETag: "a"', 'ETag: "a"', True),
    ('ETag: "a"', 'ETag: "b"', False),
    ('ETag: "a" | Last-Modified: {-9}', 'ETag: "b" | Last-Modified: {-9}', False),
    ('ETag: "a" | Last-Modified: {-9}', 'ETag: "a" | Last-Modified: {-5}', True),
    ('ETag: W/"a"', 'ETag: W/"a"', True),
    ('ETag: W/"a"', 'ETag: "a"', True),
    ('ETag: "a"', 'ETag: W/"a"', True),
    ('ETag: W/"a"', 'ETag: W/"b"', False),
    ("ETag: a", "ETag: a", True),
    ("ETag: a", "ETag: b", False),
    ("Last-Modified: {-9}", 'ETag: "a" | Last-Modified: {-9}', False),
    ("Last-Modified: {-9}", 'ETag: W/"a" | Last-Modified: {-9}', True),
    ("Last-Modified: {-9}", 'ETag: W/"a" | Last-Modified: {-8}', False),
    ("Last-Modified: {-9}", 'ETag: W/"a"', False),
    ("Last-Modified: {-9}", "Last-Modified: {-9}", True),
    ("Last-Modified: {-9}", "Last-Modified: {-8}", False),
    ('ETag: "a" | Last-Modified: {-9}', "Last-Modified: {-9}", True),
    ('ETag: "a" | Last-Modified: {-9}', "Last-Modified: {-8}", False),
    ('ETag: "a"', "Last-Modified: {-9}", True),
    ('ETag: "a"', "", True),
    ("Last-Modified: {-9}", "", True),
    ('ETag: "a"', "Last-Modified: nonsense", True),
]


@pytest.mark.parametrize(("has", "answer", "selected"), SELECTS)
def test_selects(has, answer, selected):
    assert selects(stored(FRESH, *lines_of(has)), response(*lines_of(answer), status=304), NOW_S) is selected


def test_a_304_without_validators_selects_among_several_none():
    assert not selects(stored(FRESH, 'ETag: "a"'), response(status=304), NOW_S, only=False)


UPDATES = [
    # §3.2: (stored, 304, updated); Date is in every one
    ("A: 1", "A: 2", "A: 2"),
    ("A: 1 | B: 1", "B: 2", "A: 1 | B: 2"),
    ("A: 1 | B: 1", "A: 2", "A: 2 | B: 1"),
    ("A: 1", "B: 2", "A: 1 | B: 2"),
    ("A: 1 | A: 2 | B: 3", "a: 4", "a: 4 | B: 3"),
    ("A: 1 | B: 3", "A: 4 | A: 5", "A: 4 | A: 5 | B: 3"),
    ("A: 1 | A: 2", "", "A: 1 | A: 2"),
    ("Content-Type: a/b", "Content-Type: c/d", "Content-Type: c/d"),
    ("Content-Foo: 1", "Content-Foo: 2", "Content-Foo: 2"),
    ("Content-Location: /a", "Content-Location: /b", "Content-Location: /b"),
    ("X-Frame-Options: a", "X-Frame-Options: b", "X-Frame-Options: b"),
    ("Content-Encoding: gzip", "Content-Encoding: br", "Content-Encoding: gzip"),
    ("A: 1", "Content-Encoding: br", "A: 1"),
    ("Content-Range: x", "Content-Range: y", "Content-Range: x"),
    ("A: 1", "Content-Length: 0", "A: 1"),
    ("A: 1", "Age: 5", "A: 1"),
    ("A: 1", "Connection: close, A | A: 2", "A: 1"),
    ("A: 1", "Keep-Alive: x | Proxy-Authenticate: x | Transfer-Encoding: chunked", "A: 1"),
    ('ETag: W/"a"', 'ETag: "a"', 'ETag: W/"a"'),
    ("Last-Modified: {-9}", 'ETag: W/"n" | Last-Modified: {-9}', 'Last-Modified: {-9} | ETag: W/"n"'),
    ("Expires: {+60}", "Expires: {+90}", "Expires: {+90}"),
    ("Vary: A", "Vary: B", "Vary: B"),
]


@pytest.mark.parametrize(("has", "news", "wanted"), UPDATES)
def test_updated_fields(has, news, wanted):
    record = stored("Date: {0}".replace("{0}", date(0)), FRESH, *lines_of(has))
    made = updated_fields(record, response(f"Date: {date(9)}", *lines_of(news), status=304), LATER)
    assert lines(made) == [f"Date: {date(9)}", FRESH, *lines_of(wanted)]


def test_a_304_without_date_is_dated_when_it_came():
    made = updated_fields(stored(FRESH), response(status=304), LATER)
    assert made.get("date") == date(100)


def renewed(record, *news, policy=POLICY, asked=None, status=304):
    return freshen(
        record,
        asked or request(),
        response(*news, status=status),
        policy,
        request_time=LATER,
        response_time=LATER,
    )


FRESHENED = [
    # (stored, 304, seconds fresh from its receipt)
    (FRESH, "", 60),
    (FRESH, "Cache-Control: max-age=90", 90),
    (FRESH, "Cache-Control: max-age=90 | Age: 30", 60),
    (FRESH, "Date: {+90}", 50),
    (FRESH + " | Date: {-30} | Age: 20", "", 60),
    ("Expires: {+60} | Date: {0}", "", 0),
    ("Expires: {+60} | Date: {0}", "Expires: {+160}", 60),
    ("Expires: {+60} | Date: {0}", "Cache-Control: max-age=5", 5),
    ("Cache-Control: max-age=60, must-revalidate", "Cache-Control: max-age=70", 70),
]


@pytest.mark.parametrize(("has", "news", "left"), FRESHENED)
def test_freshen(has, news, left):
    record = stored(*lines_of(has), 'ETag: "a"')
    made = renewed(record, *lines_of(news))
    assert isinstance(made, Store)
    assert max(0, made.fresh_until - LATER) == left * 1000
    assert made.response_time == LATER


def test_freshen_keeps_status_body_and_validator():
    record = stored(FRESH, 'ETag: "a"', "A: 1", status=404).with_body(77)
    made = renewed(replace(record, tags=("t",)), "A: 2", 'ETag: "a"')
    assert (made.status, made.body_length, made.etag, made.tags) == (404, 77, '"a"', ("t",))
    assert made.fields.get("a") == "2"


def test_freshen_is_not_disturbed_by_the_client():
    record = stored(FRESH, 'ETag: "a"')
    asked = request('If-None-Match: "b"', "Range: bytes=0-1", method="HEAD")
    assert isinstance(renewed(record, asked=asked), Store)


@pytest.mark.parametrize(
    ("news", "why"),
    [
        ("Cache-Control: no-store", No.NO_STORE),
        ("Cache-Control: private, max-age=60", No.PRIVATE),
        ("Vary: *", No.VARY_STAR),
        ("Cache-Control: no-cache | Set-Cookie: a=b", No.SET_COOKIE),
    ],
)
def test_a_304_can_end_the_storing(news, why):
    assert renewed(stored(FRESH, 'ETag: "a"'), *news.split(" | ")) == DontStore(why)


def test_freshen_asks_the_route_again():
    record = stored(FRESH, 'ETag: "a"')
    assert renewed(record, policy=None) == DontStore(No.ROUTE_OFF)
    made = renewed(record, policy=CachePolicy(override_ttl=5_000))
    assert made.fresh_until == LATER + 5_000


def test_qualified_directives_of_a_304_hold():
    made = renewed(stored(FRESH, 'ETag: "a"', "A: 1"), 'Cache-Control: max-age=60, no-cache="a"', "A: 2")
    assert "a" not in made.fields


HEADS = [
    # §4.3.5: (stored, HEAD's answer, status, what follows)
    ('ETag: "a"', 'ETag: "a"', 200, HeadUpdate.FRESHEN),
    ('ETag: "a"', 'ETag: "a" | Content-Length: 10', 200, HeadUpdate.FRESHEN),
    ('ETag: "a"', 'ETag: "a" | Content-Length: 11', 200, HeadUpdate.INVALIDATE),
    ('ETag: "a"', 'ETag: "b"', 200, HeadUpdate.INVALIDATE),
    ('ETag: "a"', 'ETag: W/"a"', 200, HeadUpdate.INVALIDATE),
    ('ETag: "a" | Last-Modified: {-9}', 'ETag: "a" | Last-Modified: {-8}', 200, HeadUpdate.INVALIDATE),
    ("Last-Modified: {-9}", "Last-Modified: {-9}", 200, HeadUpdate.FRESHEN),
    ("Last-Modified: {-9}", "Last-Modified: {-8}", 200, HeadUpdate.INVALIDATE),
    ("Last-Modified: {-9}", 'ETag: "a"', 200, HeadUpdate.INVALIDATE),
    ('ETag: "a"', "", 200, HeadUpdate.FRESHEN),
    ("", "", 200, HeadUpdate.FRESHEN),
    ("", "Content-Length: 10", 200, HeadUpdate.FRESHEN),
    ("", "Content-Length: 11", 200, HeadUpdate.INVALIDATE),
    ("", 'ETag: "a"', 200, HeadUpdate.INVALIDATE),
    ("", "Last-Modified: {-9}", 200, HeadUpdate.INVALIDATE),
    ('ETag: "a"', "Content-Length: 11", 200, HeadUpdate.INVALIDATE),
    ('ETag: "a"', 'ETag: "a"', 404, HeadUpdate.IGNORE),
    ('ETag: "a"', 'ETag: "b"', 503, HeadUpdate.IGNORE),
]


@pytest.mark.parametrize(("has", "answer", "status", "follows"), HEADS)
def test_head_update(has, answer, status, follows):
    record = stored(FRESH, *lines_of(has)).with_body(10)
    assert head_update(record, response(*lines_of(answer), status=status), NOW_S) is follows


def test_head_does_not_speak_of_a_stored_error():
    record = stored(FRESH, 'ETag: "a"', status=404)
    assert head_update(record, response('ETag: "a"'), NOW_S) is HeadUpdate.IGNORE


A, B = (stored(FRESH, f'ETag: "{tag}"', f"Date: {date(when)}") for tag, when in (("a", -9), ("b", -5)))
OLD_A = stored(FRESH, 'ETag: "a"', f"Date: {date(-50)}")
WEAK = stored(FRESH, 'ETag: W/"w"')
DATED = stored(FRESH, f"Last-Modified: {date(-100)}")


def test_all_entity_tags_of_the_variants_are_offered():
    asked = request("X: 1", 'If-None-Match: "c"')
    assert lines(variants_request(asked, [A, B, OLD_A, WEAK, DATED])) == [
        "X: 1",
        'If-None-Match: "a", "b", W/"w"',
    ]
    assert lines(variants_request(asked, [DATED])) == ["X: 1"]
    assert lines(variants_request(asked, [])) == ["X: 1"]


@pytest.mark.parametrize(
    ("candidates", "answer", "chosen"),
    [
        ([A, B], 'ETag: "a"', A),
        ([A, B], 'ETag: "b"', B),
        ([OLD_A, A, B], 'ETag: "a"', A),
        ([A, B, WEAK], 'ETag: W/"w"', WEAK),
        ([A, B], 'ETag: "c"', None),
        ([A, B], "", None),
        ([A], "", A),
        ([A, DATED], "Last-Modified: {-100}", DATED),
        ([], 'ETag: "a"', None),
    ],
)
def test_select_variant(candidates, answer, chosen):
    assert select_variant(candidates, response(*lines_of(answer), status=304), NOW_S) is chosen


def test_fields_with_the_same_name_in_other_case_are_replaced():
    made = updated_fields(stored(FRESH, "X-Thing: 1"), response("x-tHING: 2", status=304), LATER)
    assert [value for name, value in made if name.lower() == "x-thing"] == ["2"]


def test_fields_are_read_from_lines():
    assert lines(fields("A: b:c")) == ["A: b:c"]
