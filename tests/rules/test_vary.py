"""Which request fields select a response, and when two values are one (RFC 9111 §4.1)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdn.rules.vary import STAR, key_extras, select, spec
from tests.rules.make import fields, lines_of, stored

SPECS = [
    ("", ()),
    ("Vary:", ()),
    ("Vary: ,", ()),
    ("Vary: Accept", ("accept",)),
    ("Vary: ACCEPT", ("accept",)),
    ("Vary: b, a", ("a", "b")),
    ("Vary: b,a,B", ("a", "b")),
    ("Vary: b | Vary: a", ("a", "b")),
    ("Vary: , a,, b,", ("a", "b")),
    ("Vary: *", STAR),
    ("Vary: a, *", STAR),
    ("Vary: *, a", STAR),
    ("Vary: , *", STAR),
    ("Vary: a | Vary: *", STAR),
    ("Vary: *a", ("*a",)),
    ("Vary: a b", STAR),
    ("Vary: a;b", STAR),
    ('Vary: "a"', STAR),
    ("Vary: a/b", STAR),
    ("Vary: \xe9", STAR),
]


@pytest.mark.parametrize(("lines", "names"), SPECS)
def test_spec(lines, names):
    assert spec(fields(*lines_of(lines))) == names


# (field, one request's lines, another's, equal)
SAME = [
    ("foo", "Foo: 1", "foo: 1", True),
    ("foo", "Foo: 1", "Foo: 2", False),
    ("foo", "Foo: 1", "", False),
    ("foo", "Foo:", "", False),
    ("foo", "", "", True),
    ("foo", "Bar: 1", "Bar: 2", True),
    ("foo", "Foo: 1 | Foo: 2", "Foo: 1, 2", True),
    ("foo", "Foo: 1,2", "Foo: 1, 2", True),
    ("foo", "Foo: 1 ,\t2", "Foo: 1, 2", True),
    ("foo", "Foo: 1, 2", "Foo: 2, 1", False),
    ("foo", "Foo: 1 | Foo: 2", "Foo: 2 | Foo: 1", False),
    ("foo", "Foo: a", "Foo: A", False),
    ("foo", "Foo: a b", "Foo: a  b", False),
    ("foo", 'Foo: "1,2"', 'Foo: "1, 2"', False),
    ("foo", "Foo: ab", "Foo: a, b", False),
    ("cookie", "Cookie: a=1,2", "Cookie: a=1, 2", False),
    ("cookie", "Cookie: a=1", "Cookie: a=1", True),
    ("user-agent", "User-Agent: x (a, b)", "User-Agent: x (a,b)", False),
    ("authorization", "Authorization: a,b", "Authorization: a, b", False),
    # RFC 9110 §12.5.3
    ("accept-encoding", "Accept-Encoding: gzip, br", "Accept-Encoding: br,gzip", True),
    ("accept-encoding", "Accept-Encoding: GZIP", "Accept-Encoding: gzip", True),
    ("accept-encoding", "Accept-Encoding: x-gzip", "Accept-Encoding: gzip", True),
    ("accept-encoding", "Accept-Encoding: gzip;q=1", "Accept-Encoding: gzip", True),
    ("accept-encoding", "Accept-Encoding: gzip;q=1.000", "Accept-Encoding: gzip", True),
    ("accept-encoding", "Accept-Encoding: gzip; Q=0.50", "Accept-Encoding: gzip;q=0.5", True),
    ("accept-encoding", "Accept-Encoding: gzip ; q=0.5", "Accept-Encoding: gzip;q=0.5", True),
    ("accept-encoding", "Accept-Encoding: gzip;q=0.", "Accept-Encoding: gzip;q=0", True),
    ("accept-encoding", "Accept-Encoding: gzip;q=0.000", "Accept-Encoding: gzip;q=0", True),
    ("accept-encoding", "Accept-Encoding: gzip, gzip", "Accept-Encoding: gzip", True),
    ("accept-encoding", "Accept-Encoding: gzip | Accept-Encoding: br", "Accept-Encoding: br, gzip", True),
    ("accept-encoding", "Accept-Encoding: gzip;q=0", "Accept-Encoding: gzip", False),
    ("accept-encoding", "Accept-Encoding: gzip;q=0.5", "Accept-Encoding: gzip", False),
    ("accept-encoding", "Accept-Encoding: gzip, br", "Accept-Encoding: gzip", False),
    ("accept-encoding", "Accept-Encoding:", "", False),
    ("accept-encoding", "Accept-Encoding: *", "Accept-Encoding: gzip", False),
    ("accept-encoding", "Accept-Encoding: gzip;q=2", "Accept-Encoding: gzip", False),
    ("accept-encoding", "Accept-Encoding: gzip;q=x", "Accept-Encoding: gzip", False),
    ("accept-encoding", "Accept-Encoding: gzip;q=0.5, gzip", "Accept-Encoding: gzip", False),
    # §12.5.4
    ("accept-language", "Accept-Language: en, de", "Accept-Language: de, en", True),
    ("accept-language", "Accept-Language: en-GB", "Accept-Language: en-gb", True),
    ("accept-language", "Accept-Language: en;q=0.8,de", "Accept-Language: de, en;q=0.80", True),
    ("accept-language", "Accept-Language: en;q=0.8, de;q=0.9", "Accept-Language: en;q=0.9, de;q=0.8", False),
    ("accept-language", "Accept-Language: en", "Accept-Language: de", False),
    ("accept-language", "Accept-Language: en", "Accept-Language: en-gb", False),
    # §12.5.1
    ("accept", "Accept: text/html, */*;q=0.1", "Accept: */*;q=0.1,TEXT/HTML", True),
    ("accept", "Accept: text/html;level=1", "Accept: text/html; level=1", True),
    ("accept", "Accept: text/html;level=1", "Accept: text/html;level=2", False),
    ("accept", "Accept: text/html;level=1", "Accept: text/html", False),
    ("accept", "Accept: text/html;Level=A", "Accept: text/html;level=A", True),
    ("accept", "Accept: text/html;level=A", "Accept: text/html;level=a", False),
    ("accept", "Accept: text/html", "Accept: text/plain", False),
    ("accept", 'Accept: text/html;x="a,b"', 'Accept: text/html;x="a, b"', False),
    ("accept", "Accept: a;b", "Accept: a", False),
    ("accept", "Accept: a;x, b", "Accept: b, a;x", False),  # malformed: compared as it stands
    ("accept", "Accept: a;=x, b", "Accept: b, a;=x", False),
    ("accept", 'Accept: a/b;x="1;q=0"', 'Accept: a/b;x="1";q=0', False),
    ("accept", 'Accept: b/b, a/a;x="1"', 'Accept: a/a;x="1", b/b', False),
    ("referer", "Referer: a,b", "Referer: a, b", False),
    ("host", "Host: a,b", "Host: a, b", False),
]


@pytest.mark.parametrize(("name", "one", "other", "equal"), SAME)
def test_equal_values(name, one, other, equal):
    made = [key_extras((name,), fields(*lines_of(lines))) for lines in (one, other)]
    assert (made[0] == made[1]) is equal


def test_every_named_field_counts():
    assert key_extras(("a", "b"), fields("B: 2", "A: 1")) != key_extras(("a", "b"), fields("B: 1", "A: 2"))
    assert len(key_extras(("a", "b"), fields("A: 1"))) == 2
    assert key_extras((), fields("A: 1")) == ()


@given(st.text(alphabet=st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=40))
@settings(max_examples=200, deadline=None)
def test_any_value_has_a_key(value):
    for name in ("accept", "accept-encoding", "accept-language", "x"):
        assert key_extras((name,), fields(f"{name}: {value}"))


_CODINGS = st.lists(
    st.tuples(
        st.sampled_from(["gzip", "br", "zstd", "identity"]), st.sampled_from(["", ";q=0", ";q=0.5", ";q=1"])
    ),
    unique_by=lambda pair: pair[0],
    min_size=1,
)


@given(_CODINGS, st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_order_and_case_never_matter_in_accept_encoding(pairs, random):
    shuffled = list(pairs)
    random.shuffle(shuffled)
    one = ", ".join(name + q for name, q in pairs)
    other = " ,".join(random.choice([name, name.upper()]) + q for name, q in shuffled)
    made = [key_extras(("accept-encoding",), fields(f"Accept-Encoding: {value}")) for value in (one, other)]
    assert made[0] == made[1]


def test_the_newest_date_is_selected():
    old = stored("Cache-Control: max-age=60", "Date: Thu, 01 Jan 2026 00:00:00 GMT", 'ETag: "a"')
    new = stored("Cache-Control: max-age=60", "Date: Fri, 02 Jan 2026 00:00:00 GMT", 'ETag: "a"')
    later = replace(old, response_time=old.response_time + 1)
    assert select([old, new]) is new
    assert select([new, old]) is new
    assert select([old, later]) is later
    assert select([]) is None


@pytest.mark.parametrize(
    "name",
    ["authorization", "cookie", "date", "from", "host", "if-modified-since", "referer", "user-agent"],
)
def test_white_space_behind_a_comma_is_content_in_these(name):
    def extras(value):
        return key_extras((name,), fields(f"{name}: {value}"))

    assert extras("a, b") != extras("a,b")
    assert extras("a, b") == (b"\x01a, b",)
    assert extras("XaX") == (b"\x01XaX",)


@pytest.mark.parametrize(
    ("value", "normal"),
    [
        ("a;q=0", "a;q=0"),
        ("a;q=0.", "a;q=0"),
        ("a;q=0.000", "a;q=0"),
        ("a;q=0.500", "a;q=0.5"),
        ("a;q=1.000", "a"),
        ("a;q=1", "a"),
        ("a;q=0.050", "a;q=0.05"),
    ],
)
def test_qualities_have_one_form(value, normal):
    assert key_extras(("accept",), fields(f"Accept: {value}")) == (b"\x01" + normal.encode(),)
