"""The structured-field parser (RFC 9651 §4.2): its own table, and another implementation beside it."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdn.rules.structured import (
    Date,
    DisplayString,
    InnerList,
    Item,
    MalformedError,
    Token,
    is_sf_token,
    parse_dictionary,
    parse_item,
    parse_list,
    serialise_string,
)

BARE = [
    ("1", 1),
    ("-1", -1),
    ("0", 0),
    ("-0", 0),
    ("007", 7),
    ("999999999999999", 999999999999999),
    ("-999999999999999", -999999999999999),
    ("1.5", Decimal("1.5")),
    ("-1.123", Decimal("-1.123")),
    ("123456789012.1", Decimal("123456789012.1")),
    ('""', ""),
    ('"a b"', "a b"),
    (r'"a\"b\\c"', 'a"b\\c'),
    ("a", Token("a")),
    ("A/b:c*!#$%&'+-.^_`|~1", Token("A/b:c*!#$%&'+-.^_`|~1")),
    ("*", Token("*")),
    ("?1", True),
    ("?0", False),
    ("::", b""),
    (":aGk=:", b"hi"),
    (":aGk:", b"hi"),
    ("@0", Date(0)),
    ("@-5", Date(-5)),
    ('%"caf%c3%a9"', DisplayString("café")),
    ('%""', DisplayString("")),
    ("  1  ", 1),
]


@pytest.mark.parametrize(("text", "value"), BARE)
def test_items(text, value):
    made = parse_item(text)
    assert made == Item(value, {})
    assert type(made.value) is type(value)


# fmt: off
BAD_ITEMS = [
    "", " ", "-", "--1", "+1", "1.", ".1", "1.1234", "1234567890123.1", "1234567890123456", "- 1",
    "1 2", "1,",
    '"', '"a', '"a\\', r'"\a"', '"a\tb"', '"\x7f"', '"é"', "a b", "?", "?2", "?true", ":", ":a",
    ":a a:", ":a=b:",
    ":====:", "@", "@1.5", "@x", "%", "%a", '%"', '%"%"', '%"%C3%A9"', '%"%c3"', '%"%zz"',
    '%"\t"', "(1)", "é", "a;",
    "a;=1", "a;B", "a;b=", "a ;b", "a; b c", "\t1", "1\t", "=", ";a", "{}", "'a'",
]
# fmt: on


@pytest.mark.parametrize("text", BAD_ITEMS)
def test_bad_items(text):
    with pytest.raises(MalformedError):
        parse_item(text)


def test_parameters():
    made = parse_item('1;a;b=2;  c="x";a=tok')
    assert list(made.params.items()) == [("b", 2), ("c", "x"), ("a", "tok")]


DICTIONARIES = [
    ("", {}),
    ("  ", {}),
    ("a", {"a": True}),
    ("a=1", {"a": 1}),
    ("a=1,b=2", {"a": 1, "b": 2}),
    ("a=1 \t,\t b=2", {"a": 1, "b": 2}),
    ("a=?0", {"a": False}),
    ("a;x=1, b", {"a": True, "b": True}),
    ("a=1, a=2", {"a": 2}),
    ("a, a=2", {"a": 2}),
    ("a.b_c-d*9=1", {"a.b_c-d*9": 1}),
    ("*a=1", {"*a": 1}),
    ("max-age=60, no-store", {"max-age": 60, "no-store": True}),
]


@pytest.mark.parametrize(("text", "values"), DICTIONARIES)
def test_dictionaries(text, values):
    assert {key: member.value for key, member in parse_dictionary(text).items()} == values


# fmt: off
BAD_DICTIONARIES = [
    ",", "a,", "a,,b", ",a", "a b", "A", "A=1", "1=a", "a=", "a= 1", "a =1", "a=1 b=2", "a=1;",
    "a=(1", "a=(1,2)",
    "a=(1  2", 'a=(1"b")', "-a=1", "_a", "é=1", "a=é", "a;;b", "a=1\t;b", "\ta", "a=1\n",
]
# fmt: on


@pytest.mark.parametrize("text", BAD_DICTIONARIES)
def test_bad_dictionaries(text):
    with pytest.raises(MalformedError):
        parse_dictionary(text)


def test_the_last_of_equal_keys_takes_the_last_place():
    assert list(parse_dictionary("a=1, b=2, a=3")) == ["b", "a"]


def test_inner_lists():
    made = parse_dictionary("a=( 1 x;y  );z, b=()")
    assert made["a"] == InnerList((Item(1, {}), Item(Token("x"), {"y": True})), {"z": True})
    assert made["b"] == InnerList((), {})


LISTS = [
    ("", []),
    ("1, 2", [1, 2]),
    ('"a","b"', ["a", "b"]),
    ("a;b=1, c", ["a", "c"]),
]


@pytest.mark.parametrize(("text", "values"), LISTS)
def test_lists(text, values):
    assert [member.value for member in parse_list(text)] == values


@pytest.mark.parametrize("text", [",", "1,", "1,,2", "1 2", "(1", "(1 2", "1;a=(2)"])
def test_bad_lists(text):
    with pytest.raises(MalformedError):
        parse_list(text)


@pytest.mark.parametrize(
    ("text", "written"),
    [("", '""'), ("a", '"a"'), ('a"\\b', r'"a\"\\b"'), ("a\tb", '"a?b"'), ("é", '"?"')],
)
def test_strings_are_written(text, written):
    assert serialise_string(text) == written
    assert isinstance(parse_item(written).value, str)


@pytest.mark.parametrize(
    ("text", "token"),
    [("edge-1", True), ("*x", True), ("1x", False), ("", False), ("a b", False), ("a@b", False)],
)
def test_tokens(text, token):
    assert is_sf_token(text) is token


_TEXT = st.one_of(
    st.text(alphabet='ab*=,;()"\\?:@%01.- \tA', max_size=14),
    st.lists(
        st.sampled_from(
            ["a", "=", "1", "1.5", ", ", ",", ";", '"x"', "(", ")", "?1", ":aGk=:", "@1", '%"a"', " ", "tok"]
        ),
        max_size=10,
    ).map("".join),
)


@given(_TEXT)
@settings(max_examples=800, deadline=None)
def test_it_accepts_what_another_implementation_accepts(text):
    http_sf = pytest.importorskip("http_sf")
    for kind, parse in (("dictionary", parse_dictionary), ("list", parse_list), ("item", parse_item)):
        try:
            theirs = http_sf.parse(text.encode("latin-1"), tltype=kind)
        except http_sf.StructuredFieldError:
            theirs = None
        try:
            ours = parse(text)
        except MalformedError:
            ours = None
        if theirs is None or ours is None:
            if kind == "item" or text.strip(" "):
                assert (ours is None) == (theirs is None), (kind, text, ours, theirs)
        elif kind == "dictionary":
            assert list(ours) == list(theirs)


@pytest.mark.parametrize("text", ["X", "X=1", "Xa", "aX", "a-X=1", "=1", "-a", "_a", ".a", "1a"])
def test_keys_have_no_capitals_and_begin_with_a_letter(text):
    with pytest.raises(MalformedError):
        parse_dictionary(text)
    with pytest.raises(MalformedError):
        parse_dictionary(f"a;{text}")
