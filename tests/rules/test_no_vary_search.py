"""No-Vary-Search (draft-ietf-httpbis-no-vary-search-10): parsing (§5) and comparing (§6)."""

from __future__ import annotations

import pytest

from cdn.rules.message import Fields
from cdn.rules.no_vary_search import Variance, equivalent, significant, variance


def said(value: str) -> Variance | None:
    return variance(Fields([("No-Vary-Search", value)]))


def without(*names: str, any_order: bool = False) -> Variance:
    return Variance(any_order, False, frozenset(names))


def only(*names: str, any_order: bool = False) -> Variance:
    return Variance(any_order, True, frozenset(names))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('params=("a")', without("a")),
        ('params=("a" "b" "a")', without("a", "b")),
        ('except=("x")', only("x")),
        ("except=()", only()),
        ('except=("x" "y"), key-order', only("x", "y", any_order=True)),
        ('key-order, except=("x")', only("x", any_order=True)),
        ("key-order, except=()", only(any_order=True)),
        ("key-order", without(any_order=True)),
        ("key-order=?1", without(any_order=True)),
        ("key-order;x=1", without(any_order=True)),
        ("key-order, params=()", without(any_order=True)),
        ('key-order, params=("a")', without("a", any_order=True)),
        ('key-order=?0, except=("x")', only("x")),
        ('params=("a");q=1, new="thing"', without("a")),
        ('params=("a";q=1)', without("a")),
        ("key-order=?0, key-order", without(any_order=True)),  # the last one counts
        ('params=("b"), params=("a")', without("a")),
        ('params=("%C3%A9+%E6%B0%97")', without("\xe9 \u6c17")),
        ('params=("%61%2b")', without("a+")),
        ('params=("%zz%")', without("%zz%")),
        ('params=("%ff")', without("\ufffd")),
        ('params=("")', without("")),
        # the same as no field
        ("params=()", None),
        ("key-order=?0", None),
        ("unknown-key", None),
        ("", None),
        # void
        ('key-order="not a boolean"', None),
        ("key-order=1", None),
        ("key-order=()", None),
        ("params", None),
        ("params=?1", None),
        ("params=?0", None),
        ('params="a"', None),
        ("params=a", None),
        ("params=1", None),
        ("params=(not-a-string)", None),
        ('params=("a" 1)', None),
        ('params=("a" b)', None),
        ('params=("a"), except=("x")', None),
        ('params, except=("x")', None),
        ("params=(), except=()", None),
        ('params=?0, except=("x")', None),
        ("except=(not-a-string)", None),
        ('except="not a list"', None),
        ("except=?1", None),
        ("except", None),
        ("except=1", None),
        ("key-order, params=1", None),
        ("key-order, except=1", None),
        ("key-order,", None),
        ('params=("a"', None),
        ("Params=()", None),
    ],
)
def test_variance(value: str, expected: Variance | None) -> None:
    assert said(value) == expected


def test_several_lines_are_one_field() -> None:
    assert variance(Fields([("No-Vary-Search", "key-order"), ("no-vary-search", 'except=("x")')])) == only(
        "x", any_order=True
    )
    assert variance(Fields()) is None


@pytest.mark.parametrize(
    ("query", "variance_", "pairs"),
    [
        (None, only("a"), ()),
        ("", without("z"), ()),
        ("a=1&b=2&a=3", without("b"), (("a", "1"), ("a", "3"))),
        ("a=1&b=2&a=3", only("b"), (("b", "2"),)),
        ("b=2&a=3&b=1", without(any_order=True), (("a", "3"), ("b", "2"), ("b", "1"))),
        ("%61=%78&+=%20", without("z"), (("a", "x"), (" ", " "))),
        ("a&b=&=c&&&", without("z"), (("a", ""), ("b", ""), ("", "c"))),
        ("a=b=c&a%3db", without("z"), (("a", "b=c"), ("a=b", ""))),
        ("a=%f6", without("z"), (("a", "\ufffd"),)),
        ("a=\xc3\xa9", without("z"), (("a", "\xe9"),)),
        ("a=%EF%BB%BFx", without("z"), (("a", "\ufeffx"),)),
        ("a;b=1", without("a"), (("a;b", "1"),)),
    ],
)
def test_significant(query: str | None, variance_: Variance, pairs: tuple[tuple[str, str], ...]) -> None:
    assert significant(query, variance_) == pairs


@pytest.mark.parametrize(
    ("one", "other", "value", "same"),
    [
        # the default compares bytes
        ("a=b&&&c", "a=b&c=", "", False),
        (None, "", "", False),
        ("a=1", "a=1", "", True),
        ("a=x", "%61=%78", "", False),
        # any other value parses
        (None, "", "key-order", True),
        ("a=x", "%61=%78", "key-order", True),
        ("a=\xc3\xa9", "a=%C3%A9", "key-order", True),
        ("a=%f6", "a=%ef%bf%bd", "key-order", True),
        ("a=x&&&&", "a=x", "key-order", True),
        ("a=", "a", "key-order", True),
        ("a=%20", "a=+", "key-order", True),
        ("a=1&b=2", "b=2&a=1", "key-order", True),
        ("a=1&b=2", "b=2&a=1", 'params=("z")', False),
        ("a=1&a=2", "a=2&a=1", "key-order", False),  # values of one name stay in order
        ("a=1", "a=1&b=1", "key-order", False),
        ("a=1", "A=1", "key-order", False),
        # names
        ("a=1&u=9", "a=1", 'params=("u")', True),
        ("u=8&a=1&u=9", "a=1&u=7", 'params=("u")', True),
        ("a=1&u=9", "a=2", 'params=("u")', False),
        ("%75=9", None, 'params=("u")', True),
        ("u2=9", None, 'params=("u")', False),
        ("a=1", "b=2", "except=()", True),
        ("id=1&a=1", "b=2&id=1", 'except=("id")', True),
        ("id=1&a=1", "b=2&id=2", 'except=("id")', False),
        ("id=1&a=1", "b=2", 'except=("id")', False),
        ("x=1&y=2&z=3", "y=2&x=1", 'except=("x" "y")', False),
        ("x=1&y=2&z=3", "y=2&x=1", 'except=("x" "y"), key-order', True),
        ("x=1", "x=2", 'params=("a"), except=("x")', False),
    ],
)
def test_equivalent(one: str | None, other: str | None, value: str, same: bool) -> None:
    assert equivalent(one, other, said(value)) is same
    assert equivalent(other, one, said(value)) is same
