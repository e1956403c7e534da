"""Lists, quoted strings, and which fields travel end to end (RFC 9110 §5.6, §7.6.1)."""

from __future__ import annotations

import pytest

from cdn.rules.fields import (
    HOP_BY_HOP,
    KEPT,
    connection_listed,
    end_to_end,
    entity_tag,
    is_token,
    list_members,
    unquote,
)
from cdn.rules.message import Fields
from tests.rules.make import fields, lines_of, request


@pytest.mark.parametrize(
    ("value", "members"),
    [
        ("", []),
        (",", []),
        (" , ,\t", []),
        ("a", ["a"]),
        ("a,b", ["a", "b"]),
        (" a ,\tb ", ["a", "b"]),
        ("a,,b,", ["a", "b"]),
        ('"a,b"', ['"a,b"']),
        ('"a,b",c', ['"a,b"', "c"]),
        ('x="a,b", c', ['x="a,b"', "c"]),
        (r'"a\",b",c', [r'"a\",b"', "c"]),
        (r'"a\\",b', [r'"a\\"', "b"]),
        ('"a,b', ['"a', "b"]),
        ('a,"b,c', ["a", '"b', "c"]),
        ('"a,b\\', ['"a', "b\\"]),
        ('"","",a', ['""', '""', "a"]),
    ],
)
def test_list_members(value, members):
    assert list_members(value) == members


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ('""', ""),
        ('"a"', "a"),
        ('"a b,c"', "a b,c"),
        (r'"\""', '"'),
        (r'"\a"', "a"),
        ('"', None),
        ("a", None),
        ("", None),
        ('"a"b', None),
        ('"a""b"', None),
        (r'"a\"', None),
        ('a"b"', None),
    ],
)
def test_unquote(text, content):
    assert unquote(text) == content


@pytest.mark.parametrize(
    ("text", "token"), [("a-b", True), ("!#$%&'*+.^_`|~9", True), ("", False), ("a b", False)]
)
def test_is_token(text, token):
    assert is_token(text) is token


@pytest.mark.parametrize("char", '"(),/:;<=>?@[\\]{} \t\x7f\xe9')
def test_no_token_has(char):
    assert not is_token(f"a{char}b")


@pytest.mark.parametrize(
    ("lines", "kept"),
    [
        ("A: 1 | B: 2", "A: 1 | B: 2"),
        ("Connection: close | A: 1", "A: 1"),
        ("Connection: x-a , X-B | X-A: 1 | x-b: 2 | X-C: 3", "X-C: 3"),
        ("Connection: x-a | Connection: x-b | X-A: 1 | X-B: 2", ""),
        ("Connection: , | A: 1", "A: 1"),
        (
            "Connection: host, cookie, authorization, content-length | Host: a | Cookie: b",
            "Host: a | Cookie: b",
        ),
        ("Connection: upgrade, http2-settings | Upgrade: h2c | HTTP2-Settings: x", ""),
        ("TE: trailers | Trailer: x | Transfer-Encoding: chunked | Keep-Alive: x | A: 1", "A: 1"),
        ("Proxy-Authorization: x | Proxy-Authenticate: x | Proxy-Connection: x", ""),
    ],
)
def test_end_to_end(lines, kept):
    assert [f"{n}: {v}" for n, v in end_to_end(fields(*lines_of(lines)))] == lines_of(kept)


MEANT_FOR_EVERYBODY = [
    "age",
    "authorization",
    "cache-control",
    "cache-status",
    "cdn-cache-control",
    "cdn-loop",
    "content-encoding",
    "content-length",
    "content-location",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "etag",
    "expires",
    "forwarded",
    "host",
    "last-modified",
    "location",
    "pragma",
    "set-cookie",
    "vary",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
]


@pytest.mark.parametrize("name", MEANT_FOR_EVERYBODY)
def test_a_connection_field_cannot_take_out(name):
    assert name in end_to_end(fields(f"Connection: {name}", f"{name}: x"))


def test_what_is_kept_is_not_hop_by_hop():
    assert frozenset(MEANT_FOR_EVERYBODY) == KEPT
    assert not KEPT & HOP_BY_HOP


def test_connection_listed():
    assert connection_listed(fields("Connection: Close, X", "connection: y")) == {"close", "x", "y"}
    assert connection_listed(fields("A: 1")) == frozenset()


@pytest.mark.parametrize(
    "name",
    [
        "connection",
        "http2-settings",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authentication-info",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ],
)
def test_what_belongs_to_a_connection_stays_there(name):
    assert list(end_to_end(fields(f"{name}: x", "A: 1"))) == [("A", "1")]


@pytest.mark.parametrize(
    ("lines", "tag"),
    [('ETag: "a"', '"a"'), ("ETag: a", "a"), ("ETag:", None), ("", None), ('ETag: "a" | ETag: "a"', None)],
)
def test_entity_tag(lines, tag):
    assert entity_tag(fields(*lines_of(lines))) == tag


def test_fields_keep_order_case_and_repeats():
    made = Fields([("B", "1"), ("a", "2"), ("b", "3")])
    assert list(made) == [("B", "1"), ("a", "2"), ("b", "3")]
    assert (made.all("b"), made.get("b"), made.get("c"), "a" in made, len(made)) == (
        ["1", "3"],
        "1, 3",
        None,
        True,
        3,
    )
    assert list(made.without(["b"])) == [("a", "2")]
    assert list(made.plus([("C", "4")]))[-1] == ("C", "4")
    assert made == Fields(list(made))
    assert hash(made) == hash(Fields(list(made)))
    assert made != Fields()
    assert made != "x"
    assert repr(Fields([("a", "b")])) == "Fields([('a', 'b')])"


def test_a_request_knows_its_url():
    assert request(query="a=b").url == "http://a.example/p?a=b"
    assert request().target == "/p"
    assert request(query="").target == "/p?"
