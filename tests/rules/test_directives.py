"""What the text of Cache-Control, Pragma and targeted fields says."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdn.rules.directives import (
    BAD,
    delta_seconds,
    parse_cache_control,
    parse_targeted,
    request_directives,
    response_directives,
)
from cdn.rules.norms import DELTA_MAX
from tests.rules.make import fields

PARSED = [
    # RFC 9111 §5.2, RFC 9110 §5.6.1
    ("", []),
    (" ,, ", []),
    ("no-store", [("no-store", None)]),
    ("No-Store", [("no-store", None)]),
    ("max-age=60", [("max-age", "60")]),
    ("MAX-AGE=60", [("max-age", "60")]),
    ('max-age="60"', [("max-age", "60")]),
    ("max-age=60,public", [("max-age", "60"), ("public", None)]),
    ("max-age=60 \t,\t public", [("max-age", "60"), ("public", None)]),
    (", max-age=60 ,, public,", [("max-age", "60"), ("public", None)]),
    ('private="a, b", public', [("private", "a, b"), ("public", None)]),
    (r'x="a\"b", public', [("x", 'a"b'), ("public", None)]),
    ('x="", public', [("x", ""), ("public", None)]),
    ("x=y, x=z", [("x", "y"), ("x", "z")]),
    ("community=UCI", [("community", "UCI")]),
    ("x=a/b", [("x", BAD)]),
    ("x=", [("x", BAD)]),
    ("max-age =60", [("max-age", BAD)]),
    ("max-age= 60", [("max-age", BAD)]),
    ("max-age=60 public", [("max-age", BAD)]),
    ("max-age=60; private", [("max-age", BAD), ("private", None)]),
    ("max-age=60 no-store", [("max-age", BAD), ("no-store", None)]),
    ("no-store max-age=60", [("no-store", BAD), ("no-store", None)]),
    ('x="open, no-store', [("x", BAD), ("no-store", None)]),
    ('x="open no-store', [("x", BAD), ("no-store", None)]),
    ('x="a"b, no-cache', [("x", BAD), ("no-cache", None)]),
    ('"no-store"', [("no-store", BAD), ("no-store", None)]),
    ("=5, public", [("5", BAD), ("public", None)]),
    ("\xe9=5, public", [("\xe9", BAD), ("public", None)]),
]


@pytest.mark.parametrize(("value", "directives"), PARSED)
def test_parse(value, directives):
    assert list(parse_cache_control(value).directives) == directives


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        # RFC 9111 §1.2.2, §4.2.1
        ("0", 0),
        ("1", 1),
        ("60", 60),
        ("0060", 60),
        ("000", 0),
        ("2147483647", 2147483647),
        ("2147483648", DELTA_MAX),
        ("2147483649", DELTA_MAX),
        ("99999999999", DELTA_MAX),
        ("9" * 400, DELTA_MAX),
        ("0" * 400 + "7", 7),
        ("-1", 0),
        ("+1", 0),
        ("1.0", 0),
        ("1.5", 0),
        ("1e3", 0),
        ("0x10", 0),
        ("abc", 0),
        ("10s", 0),
        ("s10", 0),
        ("1 0", 0),
        ("", 0),
        (None, 0),
        ("²", 0),
        ("\u0661", 0),
    ],
)
def test_delta_seconds(text, seconds):
    assert delta_seconds(text) == seconds


def _said(made: object, leave_out: tuple[str, ...] = ()) -> dict[str, object]:
    """What is not at its default."""
    values = {name: getattr(made, name) for name in made.__slots__ if name not in leave_out}
    return {n: v for n, v in values.items() if v is not False and v is not None and v != frozenset()}


RESPONSE = [
    # RFC 9111 §5.2.2
    ("max-age=60", {"max_age": 60}),
    ("s-maxage=60", {"s_maxage": 60}),
    ("max-age=60, max-age=90", {"max_age": 60}),
    ("max-age=90, max-age=60", {"max_age": 90}),
    ("max-age=60\nmax-age=90", {"max_age": 60}),
    ("max-age=60\ns-maxage=90", {"max_age": 60, "s_maxage": 90}),
    ("max-age", {"max_age": 0}),
    ("max-age=", {"max_age": 0}),
    ("max-age=x", {"max_age": 0}),
    ("max-age=-60", {"max_age": 0}),
    ("max-age=60.0", {"max_age": 0}),
    ("max-age='60'", {"max_age": 0}),
    ("max-age=60a", {"max_age": 0}),
    ("max-age =60", {"max_age": 0}),
    ("max-age=x, max-age=60", {"max_age": 0}),
    ("s-maxage=x, max-age=60", {"s_maxage": 0, "max_age": 60}),
    ("foo=bar, max-age=60", {"max_age": 60}),
    ("foo, max-age=60", {"max_age": 60}),
    ('foo="max-age=90", max-age=60', {"max_age": 60}),
    ('foo="bar, no-store", max-age=60', {"max_age": 60}),
    ("no-store", {"no_store": True}),
    ("no-store=x", {"no_store": True}),
    ('no-store="x"', {"no_store": True}),
    ("NO-STORE", {"no_store": True}),
    ("max-age=60\nno-store", {"max_age": 60, "no_store": True}),
    ("must-revalidate", {"must_revalidate": True}),
    ("must-revalidate=x", {"must_revalidate": True}),
    ("proxy-revalidate", {"proxy_revalidate": True}),
    ("no-transform", {"no_transform": True}),
    ("immutable", {"immutable": True}),
    ("immutable=1", {}),
    ("public", {"public": True}),
    ("public=1", {}),
    ("Public", {"public": True}),
    ("must-understand, no-store", {"must_understand": True, "no_store": True}),
    ("must-understand=x, no-store", {"no_store": True}),
    # qualified forms: §5.2.2.4, §5.2.2.7
    ("no-cache", {"no_cache": True}),
    ('no-cache="a"', {"unstored": frozenset({"a"})}),
    ('no-cache="A, b"', {"unstored": frozenset({"a", "b"})}),
    ("no-cache=a", {"unstored": frozenset({"a"})}),
    ('no-cache=""', {"no_cache": True}),
    ('no-cache=","', {"no_cache": True}),
    ('no-cache="a b"', {"no_cache": True}),
    ('no-cache="a;b"', {"no_cache": True}),
    ('no-cache="a", no-cache', {"no_cache": True}),
    ('no-cache, no-cache="a"', {"no_cache": True}),
    ('no-cache="a"\nno-cache="b"', {"unstored": frozenset({"a", "b"})}),
    ("private", {"private": True}),
    ('private="a"', {"unstored": frozenset({"a"})}),
    ('private="a", no-cache="b"', {"unstored": frozenset({"a", "b"})}),
    ('private="a", private', {"private": True}),
    ('private="a', {"private": True}),
    ("private=", {"private": True}),
    ("private; max-age=60", {"private": True}),
    # RFC 5861 §3, §4
    ("stale-while-revalidate=5", {"stale_while_revalidate": 5}),
    ("stale-if-error=5", {"stale_if_error": 5}),
    ("stale-if-error=x", {"stale_if_error": 0}),
]


@pytest.mark.parametrize(("value", "said"), RESPONSE)
def test_response_directives(value, said):
    made = response_directives(fields(*[f"Cache-Control: {line}" for line in value.split("\n")]))
    assert _said(made, ("present", "targeted")) == said


REQUEST = [
    # RFC 9111 §5.2.1
    ("", {}),
    ("Cache-Control: no-cache", {"no_cache": True}),
    ("Cache-Control: No-Cache", {"no_cache": True}),
    ("Cache-Control: no-store", {"no_store": True}),
    ("Cache-Control: only-if-cached", {"only_if_cached": True}),
    ("Cache-Control: no-transform", {"no_transform": True}),
    ("Cache-Control: max-age=0", {"max_age": 0}),
    ("Cache-Control: max-age=60", {"max_age": 60}),
    ('Cache-Control: max-age="60"', {"max_age": 60}),
    ("Cache-Control: max-age=x", {"max_age": 0}),
    ("Cache-Control: min-fresh=60", {"min_fresh": 60}),
    ("Cache-Control: max-stale", {"max_stale": DELTA_MAX}),
    ("Cache-Control: max-stale=60", {"max_stale": 60}),
    ("Cache-Control: max-stale=x", {"max_stale": 0}),
    ("Cache-Control: max-stale=", {"max_stale": 0}),
    ("Cache-Control: stale-if-error=60", {"stale_if_error": 60}),
    ("Cache-Control: max-age=60 | Cache-Control: min-fresh=5", {"max_age": 60, "min_fresh": 5}),
    # §5.4
    ("Pragma: no-cache", {"no_cache": True}),
    ("Pragma: No-Cache", {"no_cache": True}),
    ("Pragma: foo, no-cache", {"no_cache": True}),
    ("Pragma: foo", {}),
    ("Pragma: no-cache | Cache-Control: max-age=60", {"max_age": 60}),
    ("Pragma: no-cache | Cache-Control: foo", {}),
]


@pytest.mark.parametrize(("lines", "said"), REQUEST)
def test_request_directives(lines, said):
    assert _said(request_directives(fields(*[line for line in lines.split(" | ") if line]))) == said


TARGETED = [
    # RFC 9213 §2.1
    ("max-age=60", [("max-age", "60")]),
    ("max-age=60, no-store", [("max-age", "60"), ("no-store", None)]),
    ("max-age=60;x=y", [("max-age", "60")]),
    ("no-store;x", [("no-store", None)]),
    ("no-store=?1", [("no-store", None)]),
    ("no-store=?0, max-age=1", [("max-age", "1")]),
    ('no-cache="a, b"', [("no-cache", "a, b")]),
    ('private="a"', [("private", "a")]),
    ('max-age="60"', [("max-age", BAD)]),
    ("max-age=60.5", [("max-age", BAD)]),
    ("max-age=(60)", [("max-age", BAD)]),
    ("max-age=-60", [("max-age", "-60")]),
    ("max-age", [("max-age", None)]),
    ("max-age=60, max-age=90", [("max-age", "90")]),
    ("none", [("none", None)]),
    ("foo=bar", [("foo", BAD)]),
    ("", None),
    ("   ", None),
    ("max-age=60,", None),
    (",max-age=60", None),
    ("MAX-AGE=60", None),
    ("max-age=60 no-store", None),
    ("max-age= 60", None),
    ("max-age=", None),
    ("max-age=60&", None),
    ('no-cache="a', None),
    ("max-age=60; private=", None),
    ("\xe9", None),
]


@pytest.mark.parametrize(("value", "directives"), TARGETED)
def test_targeted(value, directives):
    made = parse_targeted(value)
    assert (None if made is None else list(made.directives)) == directives


PRECEDENCE = [
    # RFC 9213 §2.2: (lines, target list, field that governs, its max-age)
    ("Cache-Control: max-age=1", ("cdn-cache-control",), "", 1),
    (
        "CDN-Cache-Control: max-age=2 | Cache-Control: max-age=1",
        ("cdn-cache-control",),
        "cdn-cache-control",
        2,
    ),
    ("CDN-Cache-Control: max-age=2 | Cache-Control: max-age=1", (), "", 1),
    ("CDN-Cache-Control: | Cache-Control: max-age=1", ("cdn-cache-control",), "", 1),
    ("CDN-Cache-Control: max-age=2, | Cache-Control: max-age=1", ("cdn-cache-control",), "", 1),
    ("CDN-Cache-Control: a=1 | CDN-Cache-Control: max-age=2", ("cdn-cache-control",), "cdn-cache-control", 2),
    (
        "CDN-Cache-Control: max-age=2 | X-Cache-Control: max-age=3",
        ("x-cache-control", "cdn-cache-control"),
        "x-cache-control",
        3,
    ),
    (
        "CDN-Cache-Control: max-age=2 | X-Cache-Control: &",
        ("x-cache-control", "cdn-cache-control"),
        "cdn-cache-control",
        2,
    ),
    (
        "CDN-Cache-Control: max-age=2 | X-Cache-Control: max-age=3",
        ("cdn-cache-control",),
        "cdn-cache-control",
        2,
    ),
    ("CDN-Cache-Control: none | Cache-Control: no-store", ("cdn-cache-control",), "cdn-cache-control", None),
]


@pytest.mark.parametrize(("lines", "targets", "governs", "max_age"), PRECEDENCE)
def test_which_field_governs(lines, targets, governs, max_age):
    made = response_directives(fields(*lines.split(" | ")), targets)
    assert (made.targeted, made.max_age) == (governs, max_age)


@given(st.text(alphabet=st.characters(max_codepoint=255), max_size=60))
@settings(max_examples=300, deadline=None)
def test_no_text_breaks_the_parsers(value):
    parse_cache_control(value)
    parse_targeted(value)


@given(st.lists(st.sampled_from(['x="', "a", " ", ",", ";", "=", '"', "\\", "max-age=9"]), max_size=12))
@settings(max_examples=300, deadline=None)
def test_a_restriction_behind_malformed_text_holds(pieces):
    """However broken what stands before it, unless a closed quoted-string really contains it."""
    value = "".join(pieces) + ", no-store"
    outside = parse_cache_control(value).has("no-store")
    assert outside or value.count('"') >= 2


@pytest.mark.parametrize("name", ["no-store", "no-cache", "private", "must-revalidate", "proxy-revalidate"])
@pytest.mark.parametrize("text", ["x y {}", "max-age=9;{}", "{}; x", "= {}", '"{}" x', "{} = 1"])
def test_every_restriction_in_malformed_text_holds(name, text):
    assert parse_cache_control(text.format(name)).has(name)


def test_long_values_are_parsed_the_same():
    value = ", ".join(["x=y"] * 500) + ", max-age=7"
    assert parse_cache_control(value).seconds("max-age") == 7
