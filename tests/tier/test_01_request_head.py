"""A request head is one message and no more, with one framing, whatever its parts hold."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdn.config.values import Address, Origin
from cdn.tier._wire import CHUNKED, NO_BODY, request_head
from cdn.tier.call import host_value, server_name
from cdn.tier.seam import OWN_FIELDS, Kind, OriginError, OriginRequest, allowed_upgrade


def test_plain() -> None:
    head = request_head("GET", "/a?b", "h", [("Accept", "*/*"), ("X", "é")], NO_BODY)
    assert head == b"GET /a?b HTTP/1.1\r\nHost: h\r\nAccept: */*\r\nX: \xe9\r\n\r\n"


@pytest.mark.parametrize(
    ("method", "length", "line"),
    [
        ("GET", NO_BODY, b""),
        ("GET", 0, b"Content-Length: 0\r\n"),
        ("POST", NO_BODY, b"Content-Length: 0\r\n"),
        ("PUT", NO_BODY, b"Content-Length: 0\r\n"),
        ("DELETE", NO_BODY, b""),
        ("POST", 7, b"Content-Length: 7\r\n"),
        ("POST", CHUNKED, b"Transfer-Encoding: chunked\r\n"),
        ("GET", CHUNKED, b"Transfer-Encoding: chunked\r\n"),
    ],
)
def test_framing(method: str, length: int, line: bytes) -> None:
    assert (
        request_head(method, "/", "h", [], length)
        == method.encode() + b" / HTTP/1.1\r\nHost: h\r\n" + line + b"\r\n"
    )


def test_the_requests_own_framing_and_connection_fields_are_left_out() -> None:
    fields = [(name.title(), "x") for name in sorted(OWN_FIELDS)]
    assert (
        request_head("POST", "/", "h", fields, 3)
        == b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n"
    )


def test_upgrade() -> None:
    head = request_head("GET", "/", "h", [], NO_BODY, "websocket")
    assert head == b"GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"


@pytest.mark.parametrize(
    ("method", "target", "host", "name", "value"),
    [
        ("GET", "/", "h", "X", "a\r\nY: b"),
        ("GET", "/", "h", "X", "a\nb"),
        ("GET", "/", "h", "X", "a\rb"),
        ("GET", "/", "h", "X", "a\0b"),
        ("GET", "/", "h", "X", "a\x7fb"),
        ("GET", "/", "h", "X", "a\r\n"),
        ("GET", "/", "h", "X\r\nY", "b"),
        ("GET", "/", "h", "X Y", "b"),
        ("GET", "/", "h", "X:", "b"),
        ("GET", "/", "h", "", "b"),
        ("GET", "/", "h", "X", "\u20ac"),
        ("GET", "/ HTTP/1.1\r\nX: y\r\n\r\n", "h", "X", "b"),
        ("GET", "/a b", "h", "X", "b"),
        ("GET", "/a#b", "h", "X", "b"),
        ("GET", "", "h", "X", "b"),
        ("GET", "/", "h\r\nX: y", "X", "b"),
        ("G T", "/", "h", "X", "b"),
        ("", "/", "h", "X", "b"),
    ],
)
def test_what_is_not_one_message_is_refused(
    method: str, target: str, host: str, name: str, value: str
) -> None:
    with pytest.raises(OriginError) as caught:
        request_head(method, target, host, [(name, value)], NO_BODY)
    assert caught.value.kind is Kind.UNSENDABLE
    assert not caught.value.sent


TEXT = st.text(st.characters(max_codepoint=300), max_size=6)


@settings(max_examples=300, deadline=None)
@given(TEXT, TEXT, TEXT, st.lists(st.tuples(TEXT, TEXT), max_size=3), st.integers(-2, 9))
def test_never_more_lines_than_parts(
    method: str, target: str, host: str, fields: list[tuple[str, str]], length: int
) -> None:
    try:
        head = request_head(method, target, host, fields, length)
    except OriginError:
        return
    lines = head.split(b"\r\n")
    framed = length >= -1 or method in ("POST", "PUT", "PATCH")
    kept = [name for name, _ in fields if name.lower() not in OWN_FIELDS]
    assert lines[-2:] == [b"", b""]
    assert len(lines) == 2 + len(kept) + framed + 2
    assert head.count(b"\n") == head.count(b"\r") == len(lines) - 1
    assert lines[0].count(b" ") == 2


@pytest.mark.parametrize(
    ("configured", "asked", "address", "value"),
    [
        (None, "www.example.com", Address("http", "10.0.0.1", 80), "www.example.com"),
        ("app.internal:81", "www.example.com", Address("http", "10.0.0.1", 80), "app.internal:81"),
        (None, None, Address("http", "10.0.0.1", 80), "10.0.0.1"),
        (None, None, Address("http", "10.0.0.1", 8080), "10.0.0.1:8080"),
        (None, None, Address("https", "::1", 443), "[::1]"),
        (None, None, Address("https", "::1", 80), "[::1]:80"),
    ],
)
def test_host(configured: str | None, asked: str | None, address: Address, value: str) -> None:
    origin = Origin("app", (), host=configured)
    assert host_value(origin, address, OriginRequest("GET", "/", asked)) == value


@pytest.mark.parametrize(
    ("configured", "name"),
    [(None, "back.end"), ("www.example.com", "www.example.com"), ("a.b:8443", "a.b"), ("[::1]:8443", "::1")],
)
def test_the_name_a_certificate_must_carry(configured: str | None, name: str) -> None:
    assert server_name(Origin("app", (), host=configured), Address("https", "back.end", 443)) == name


@pytest.mark.parametrize(
    ("offered", "protocol"),
    [
        ("websocket", "websocket"),
        ("WebSocket", "websocket"),
        ("h2c, websocket", "websocket"),
        ("h2c", None),
        ("websocket/13", None),
        ("", None),
        (None, None),
    ],
)
def test_allowed_upgrade(offered: str | None, protocol: str | None) -> None:
    assert allowed_upgrade(offered) == protocol
    assert allowed_upgrade(offered, frozenset({"h2c", "websocket"})) == protocol
