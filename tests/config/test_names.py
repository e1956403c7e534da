"""Hosts, paths, addresses and fields: what is taken, in which normal form, and what is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdn.config import addresses, fields, names
from cdn.config.problems import BadValueError
from cdn.config.values import Address

TAKEN: list[tuple[Callable[[str], object], str, object]] = [
    (names.parse_host_pattern, "WWW.example.COM", "www.example.com"),
    (names.parse_host_pattern, "*.Example.org", "*.example.org"),
    (names.parse_host_pattern, "*.org", "*.org"),
    (names.parse_host_pattern, "localhost", "localhost"),
    (names.parse_host_pattern, "a_b.example", "a_b.example"),
    (names.parse_host_pattern, "127.0.0.1", "127.0.0.1"),
    (names.parse_host_pattern, "[2001:DB8:0::1]", "[2001:db8::1]"),
    (names.parse_host_pattern, "xn--bcher-kva.example", "xn--bcher-kva.example"),
    (names.parse_path_pattern, "/", "/"),
    (names.parse_path_pattern, "/*", "/*"),
    (names.parse_path_pattern, "/**/x", "/*/x"),
    (names.parse_path_pattern, "/a//b", "/a//b"),
    (names.parse_path_pattern, "/a%2Fb", "/a%2Fb"),
    (names.parse_path_pattern, "/.well-known/*", "/.well-known/*"),
    (names.parse_path_pattern, "/a..b/...", "/a..b/..."),
    (names.parse_method, "GET", "GET"),
    (names.parse_method, "PROPFIND", "PROPFIND"),
    (names.parse_method, "QUERY", "QUERY"),
    (names.parse_key_field, "Accept-Language", "accept-language"),
    (names.parse_field_pattern, "X-Preview-*", "x-preview-*"),
    (names.parse_field_pattern, "*", "*"),
    (names.parse_cookie_pattern, "Session*", "Session*"),
    (names.parse_parameter_pattern, "utm_*", "utm_*"),
    (names.parse_parameter_pattern, "f[a]", "f[a]"),
    (names.parse_status, "404", 404),
    (names.parse_node_name, "edge-1.example_a", "edge-1.example_a"),
    (addresses.parse_server, "http://127.0.0.1", Address("http", "127.0.0.1", 80)),
    (addresses.parse_server, "HTTPS://Example.ORG", Address("https", "example.org", 443)),
    (addresses.parse_server, "http://[::FFFF]:81", Address("http", "::ffff", 81)),
    (addresses.parse_server, "unix:/run/app.sock", Address("http", "localhost", 80, "/run/app.sock")),
    (addresses.parse_server, "UNIX:///run/app.sock", Address("http", "localhost", 80, "/run/app.sock")),
    (names.parse_prefix, "/", ""),
    (names.parse_prefix, "/a/b", "/a/b"),
    (names.parse_check_path, "/healthz?a=b", "/healthz?a=b"),
    (addresses.parse_server_name, "App.Example", "app.example"),
    (addresses.parse_listener, "http://[::]:0", Address("http", "::", 0)),
    (addresses.parse_authority, "Example.org", "example.org"),
    (addresses.parse_authority, "example.org:8080", "example.org:8080"),
    (addresses.parse_authority, "[::1]:8080", "[::1]:8080"),
    (addresses.parse_network, "10.0.0.0/8", "10.0.0.0/8"),
    (addresses.parse_network, "192.0.2.7", "192.0.2.7/32"),
    (addresses.parse_network, "0.0.0.0/0", "0.0.0.0/0"),
    (addresses.parse_network, "2001:DB8::/32", "2001:db8::/32"),
    (fields.parse_removed_field, "X-Powered-By", "x-powered-by"),
    (fields.parse_set_request_field, "X-Edge", "X-Edge"),
    (fields.parse_set_response_field, "Cache-Control", "Cache-Control"),
    (fields.parse_field_value, "max-age=60,\tpublic", "max-age=60,\tpublic"),
]
REFUSED: list[tuple[Callable[[str], object], str, str]] = [
    (names.parse_host_pattern, "*", "leave `host` out"),
    (names.parse_host_pattern, "*.*.org", "`*` stands for"),
    (names.parse_host_pattern, "a.*", "`*` stands for"),
    (names.parse_host_pattern, "*a.org", "did you mean `*.a.org`"),
    (names.parse_host_pattern, "a.org:80", "without its port"),
    (names.parse_host_pattern, "a.org/", "not a URL"),
    (names.parse_host_pattern, "a b.org", "no host name"),
    (names.parse_host_pattern, "bücher.example", "`xn--bcher-kva.example`"),
    (names.parse_host_pattern, "..ü", "xn--"),
    (names.parse_host_pattern, "a" * 64 + ".org", "no host name"),
    (names.parse_host_pattern, ".".join(["a"] * 130), "no host name"),
    (names.parse_host_pattern, "-a.org", "no host name"),
    (names.parse_host_pattern, "1.2.3", "IPv4"),
    (names.parse_host_pattern, "0x7f.1", "IPv4"),
    (names.parse_host_pattern, "a.org\n", "no host name"),
    (names.parse_host_pattern, "[::1", "IPv6 address in brackets"),
    (names.parse_path_pattern, "", "begins with `/`"),
    (names.parse_path_pattern, "*", "did you mean `/*`"),
    (names.parse_path_pattern, "/a/./b", "resolved"),
    (names.parse_path_pattern, "/a/..", "resolved"),
    (names.parse_path_pattern, "/%2E%2e/a", "resolved"),
    (names.parse_path_pattern, "/%41", "write `/A`"),
    (names.parse_path_pattern, "/a%2fb", "write `/a%2Fb`"),
    (names.parse_path_pattern, "/a%zz", "hexadecimal"),
    (names.parse_path_pattern, "/a%2", "hexadecimal"),
    (names.parse_path_pattern, "/%00", "%00"),
    (names.parse_path_pattern, "/a\nb", "write `%0A`"),
    (names.parse_path_pattern, "/ü", "write `/%C3%BC`"),
    (names.parse_path_pattern, "/a?b", "ends before"),
    (names.parse_method, "get", "did you mean `GET`"),
    (names.parse_method, "", "no registered"),
    (names.parse_method, "PURGE", "no registered"),
    (names.parse_method, "TRACE", "refused"),
    (names.parse_key_field, "HOST", "already"),
    (names.parse_key_field, "X:", "letters"),
    (names.parse_field_pattern, "*-X", "at the end"),
    (names.parse_cookie_name, "a*", "whole"),
    (names.parse_cookie_pattern, "a b", "cookie"),
    (names.parse_parameter_pattern, "a=b", "parameter"),
    (names.parse_status, "100", "200 to 599"),
    (names.parse_status, "304", "freshness"),
    (names.parse_node_name, "1a", "letter"),
    (names.parse_environment_name, "A-B", "not the token itself"),
    (addresses.parse_server, "http://a:0", "1 to 65535"),
    (addresses.parse_server, "http://a:", "1 to 65535"),
    (addresses.parse_server, "http://a:65536", "1 to 65535"),
    (addresses.parse_server, "http://a:٣", "1 to 65535"),
    (addresses.parse_server, "http://a\n", "no host name"),
    (addresses.parse_server, "http://[::1]x", "brackets"),
    (addresses.parse_server, "http://[1.2.3.4]", "brackets"),
    (addresses.parse_server, "http://[:]", "no host name"),
    (addresses.parse_listener, "unix:/x", "not available yet"),
    (addresses.parse_server, "unix:x", "absolute"),
    (addresses.parse_server, "unix://x/y", "absolute"),
    (addresses.parse_server, "unix:", "absolute"),
    (addresses.parse_server, "unix:/a\x07", "control"),
    (addresses.parse_server, "unix:/" + "a" * 107, "107 bytes"),
    (names.parse_prefix, "a", "begins with"),
    (names.parse_prefix, "/a/", "write `/a`"),
    (names.parse_prefix, "/a//b", "write `/a/b`"),
    (names.parse_prefix, "/a*", "as it stands"),
    (names.parse_prefix, "/a?b", "before"),
    (names.parse_prefix, "/a/../b", "resolved"),
    (names.parse_check_path, "healthz", "begins with"),
    (names.parse_check_path, "/a?b c", "without spaces"),
    (names.parse_check_path, "/*", "one path"),
    (addresses.parse_server_name, "a.example:1", "no host name"),
    (addresses.parse_authority, "http://a", "not a URL"),
    (addresses.parse_authority, "", "missing"),
    (addresses.parse_network, "10.0.0.1/8", "`10.0.0.0/8`"),
    (addresses.parse_network, "::1/129", "such as"),
    (fields.parse_removed_field, "Transfer-Encoding", "one connection"),
    (fields.parse_removed_field, "AGE", "writes itself"),
    (fields.parse_set_response_field, "content-length", "framed"),
    (fields.parse_set_request_field, "If-Range", "each request"),
    (fields.parse_set_request_field, "host", "origins.NAME.host"),
    (fields.parse_field_value, "a\r\nX: y", "control"),
    (fields.parse_field_value, "a\x7f", "control"),
    (fields.parse_field_value, "é", "ASCII"),
    (fields.parse_field_value, " a", "white space"),
    (fields.parse_field_value, "a" * 5000, "4,096"),
]


@pytest.mark.parametrize(("parse", "text", "value"), TAKEN)
def test_taken(parse: Callable[[str], object], text: str, value: object) -> None:
    assert parse(text) == value
    assert parse(str(value)) == value, "a normal form is its own"


@pytest.mark.parametrize(("parse", "text", "hint"), REFUSED)
def test_refused(parse: Callable[[str], object], text: str, hint: str) -> None:
    with pytest.raises(BadValueError) as caught:
        parse(text)
    assert hint in str(caught.value)
    assert "\n" not in str(caught.value)


PARSERS = sorted({parse for parse, _, _ in TAKEN + REFUSED}, key=lambda parse: parse.__name__)
PIECES = [
    "http://",
    "a",
    "example",
    ".",
    "*",
    "/",
    "%",
    "2e",
    "2F",
    ":",
    "80",
    "[",
    "]",
    "::1",
    "@",
    "ü",
    "\n",
    "-",
    "GET",
    "10.0.0.0",
]


@given(
    st.sampled_from(PARSERS),
    st.lists(st.sampled_from(PIECES), max_size=8).map("".join) | st.text(max_size=12),
)
def test_any_text_is_taken_or_refused(parse: Callable[[str], object], text: str) -> None:
    said, value = "", None
    try:
        value = parse(text)
    except BadValueError as error:
        said = str(error)
    assert "\n" not in said
    assert said or parse(str(value)) == value


def test_a_refused_value_never_shows_a_secret() -> None:
    for parse, text in [
        (names.parse_environment_name, "hunter2!"),
        (fields.parse_field_value, "hunter2\n"),
        (addresses.parse_server, "http://me:hunter2!@host"),
        (addresses.parse_server, "ftp://me:hunter2!@host"),
        (addresses.parse_server, "http://me:hunter2!@host:x/y"),
    ]:
        with pytest.raises(BadValueError) as caught:
            parse(text)
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("one", "other", "collides"),
    [
        ("http://127.0.0.1:80", "http://127.0.0.1:81", False),
        ("http://127.0.0.1:80", "https://127.0.0.1:80", True),
        ("http://127.0.0.1:80", "http://127.0.0.2:80", False),
        ("http://127.0.0.1:80", "http://0.0.0.0:80", True),
        ("http://localhost:80", "http://127.0.0.1:80", True),
        ("http://[::1]:80", "http://0.0.0.0:80", False),
        ("http://[::]:80", "http://[::1]:80", True),
        ("http://0.0.0.0:0", "http://0.0.0.0:0", False),
        ("http://a.example:80", "http://a.example:80", True),
    ],
)
def test_collisions(one: str, other: str, collides: bool) -> None:
    first, second = addresses.parse_listener(one), addresses.parse_listener(other)
    assert addresses.collide(first, second) is addresses.collide(second, first) is collides


@pytest.mark.parametrize(
    ("url", "loopback"),
    [
        ("http://127.0.0.1", True),
        ("http://127.9.9.9", True),
        ("http://[::1]", True),
        ("http://localhost", True),
        ("http://0.0.0.0", False),
        ("http://[::]", False),
        ("http://localhost.example", False),
        ("http://10.0.0.1", False),
    ],
)
def test_loopback(url: str, loopback: bool) -> None:
    assert addresses.is_loopback(addresses.parse_listener(url)) is loopback


@pytest.mark.parametrize(
    "name",
    [
        "Authorization",
        "cookie",
        "Set-Cookie",
        "X-Api-Key",
        "X-Auth",
        "X-Auth-Token",
        "X-Origin-Secret",
        "Api-Password",
    ],
)
def test_hidden(name: str) -> None:
    assert fields.shown_value(name, "v") == fields.HIDDEN


@pytest.mark.parametrize("name", ["X-Edge", "X-Frame-Options", "Cache-Control", "X-Monkey", "X-Author"])
def test_not_hidden(name: str) -> None:
    assert fields.shown_value(name, "v") == "v"
