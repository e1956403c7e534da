"""Authorities and request targets: tables, the plain twin, and the same through a whole head."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdn._core import HeadError, normal_authority, split_head, split_target
from tests.core import oracle_target

LABEL = b"a" * 63
AUTHORITIES: dict[tuple[bytes, bool], str | None] = {
    (b"a", False): "a",
    (b"Example.COM", False): "example.com",
    (b"example.com.", False): "example.com",
    (b"example.com.:80", False): "example.com",
    (b"example.com:80", False): "example.com",
    (b"example.com:80", True): "example.com:80",
    (b"example.com:443", True): "example.com",
    (b"example.com:443", False): "example.com:443",
    (b"example.com:", False): "example.com",
    (b"example.com:0", False): "example.com:0",
    (b"example.com:00080", False): "example.com",
    (b"example.com:08080", False): "example.com:8080",
    (b"example.com:65535", False): "example.com:65535",
    (b"a_b-c.d", False): "a_b-c.d",
    (b"-", False): "-",
    (b"127.0.0.1:8080", False): "127.0.0.1:8080",
    (b"1", False): "1",
    (b"[::1]", False): "[::1]",
    (b"[::]", False): "[::]",
    (b"[2001:DB8::A]:8080", False): "[2001:db8::a]:8080",
    (b"[1:2:3:4:5:6:7:8]:80", False): "[1:2:3:4:5:6:7:8]",
    (b"[::2:3:4:5:6:7:8]", False): "[::2:3:4:5:6:7:8]",
    (b"[1:2:3:4:5:6:7::]", False): "[1:2:3:4:5:6:7::]",
    (b"[::ffff:127.0.0.1]", False): "[::ffff:127.0.0.1]",
    (b"[1:2:3:4:5:6:1.2.3.4]", False): "[1:2:3:4:5:6:1.2.3.4]",
    (b"[1::4:5]", False): "[1::4:5]",
    (b".".join([LABEL] * 4), False): ".".join(["a" * 63] * 4),
    **dict.fromkeys(
        (
            (text, False)
            for text in [
                b"", b".", b"..", b":", b":80", b".a", b"a..b", b"a..", b"a b", b" a", b"a ", b"a\t", b"a/b",
                b"a/", b"a?b", b"a#b",
                b"a\\b", b"u@a", b"u:p@a", b"a@", b"a,b", b"a;b", b"a%41", b"a%00", b"a\0", b"a\r\n",
                b"\xc3\xa9", b"a\x7f", b"a*b", b"*",
                b"a!b", b"a$b", b"a&b", b"a'b", b"(a)", b"a+b", b"a=b", b"a~b", b"<a>", b'"a"', b"a|b",
                b"http://a", b"a:b", b"a:+80",
                b"a:-1", b"a:8 0", b"a: 80", b"a:80 ", b"a:65536", b"a:99999999999999999999", b"a:80:80",
                b"a:0x50", b"a::80", b"::1",
                b"[", b"[]", b"]", b"[::1", b"::1]", b"[::1]a", b"[::1]]", b"[[::1]]", b"[::1]80",
                b"[::1%25lo]", b"[::1%lo]",
                b"[v1.a]", b"[a]", b"[1]", b"[:1]", b"[1:]", b"[:]", b"[:::]", b"[1::2::3]",
                b"[1:2:3:4:5:6:7]", b"[1:2:3:4:5:6:7:8:9]",
                b"[1:2:3:4:5:6:7::8]", b"[12345::]", b"[g::]", b"[::1.2.3]", b"[::1.2.3.256]",
                b"[::1.2.3.04]", b"[::1.2.3.4.5]",
                b"[1.2.3.4]", b"[1:2:3:4:5:6:7:1.2.3.4]", b"[::1.2.3.4:5]", b"[::1 ]", b"[ ::1]", b"[::1].",
                b"a[::1]",
                b"a" * 256, b".".join([LABEL] * 5),
            ]
        ),
        None,
    ),
}  # fmt: skip


def verdict(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except HeadError as fault:
        return fault.name if fault.status == 400 else repr(fault)
    except oracle_target.RefusedError as fault:
        return str(fault)


@pytest.mark.parametrize("case", AUTHORITIES)
def test_authority(case: tuple[bytes, bool]) -> None:
    expected = AUTHORITIES[case]
    if expected is None:
        with pytest.raises(HeadError) as fault:
            normal_authority(*case)
        assert (fault.value.status, fault.value.name) == (400, "authority")
        with pytest.raises(oracle_target.RefusedError):
            oracle_target.authority(*case)
    else:
        assert normal_authority(*case) == oracle_target.authority(*case) == expected
        assert normal_authority(expected.encode(), case[1]) == expected


@settings(max_examples=500, deadline=None)
@given(
    raw=st.one_of(
        st.lists(st.sampled_from([b"a", b"B", b"0", b"25", b".", b"-", b"_", b":", b"80", b"443", b"@",
        b"%"]), max_size=9).map(
            b"".join
        ),
        st.lists(st.sampled_from([b"::", b":", b"1", b"abcd", b"12345", b"1.2.3.4", b"0"]), max_size=17).map(
            lambda parts: b"[" + b"".join(parts) + b"]"
        ),
        st.ip_addresses(v=6).map(lambda address: f"[{address.exploded}]:443".encode()),
        st.binary(max_size=8),
    ),
    https=st.booleans(),
)  # fmt: skip
def test_any_authority(raw: bytes, https: bool) -> None:
    own = verdict(lambda: normal_authority(raw, https))
    assert own == verdict(lambda: oracle_target.authority(raw, https))
    if own != "authority":
        assert normal_authority(own.encode(), https) == own


Target = tuple[bytes, bytes | None, str]
TARGETS: dict[Target, tuple[str, str, str | None] | str] = {
    (b"/", b"a", "GET"): ("a", "/", None),
    (b"/x/../y", b"A:80", "GET"): ("a", "/y", None),
    (b"/?", b"a", "GET"): ("a", "/", ""),
    (b"/x?y=1&z", b"a", "GET"): ("a", "/x", "y=1&z"),
    (b"/x?y?z", b"a", "GET"): ("a", "/x", "y?z"),
    (b"/x?a/../b%2e\\|", b"a", "GET"): ("a", "/x", "a/../b%2e\\|"),
    (b"//a/b", b"a", "GET"): ("a", "//a/b", None),
    (b"//evil/b", b"a", "GET"): ("a", "//evil/b", None),
    (b"/http://b/", b"a", "GET"): ("a", "/http://b/", None),
    (b"/", None, "GET"): ("", "/", None),
    (b"/", b"", "GET"): "authority",
    (b"/", b"a/b", "GET"): "authority",
    (b"/", b"u@a", "GET"): "authority",
    (b"/", b"a b", "GET"): "authority",
    (b"/%00", b"a", "GET"): "path",
    (b"/a\\b", b"a", "GET"): "path",
    (b"/a#b", b"a", "GET"): "target-form",
    (b"/a?b#c", b"a", "GET"): "target-form",
    (b"http://a/x?y", b"a", "GET"): ("a", "/x", "y"),
    (b"HTTP://A:80/x", b"a", "GET"): ("a", "/x", None),
    (b"https://a/x", b"a", "GET"): ("a", "/x", None),
    (b"http://a", b"a", "GET"): ("a", "/", None),
    (b"http://a?y", b"a", "GET"): ("a", "/", "y"),
    (b"http://a:8080/", b"a:8080", "GET"): ("a:8080", "/", None),
    (b"http://[::1]:80/", b"[::1]", "GET"): ("[::1]", "/", None),
    (b"http://a/", None, "GET"): ("a", "/", None),
    (b"http://b/", b"a", "GET"): "host-mismatch",
    (b"http://a:81/", b"a", "GET"): "host-mismatch",
    (b"http://a.b/", b"a", "GET"): "host-mismatch",
    (b"http://a/", b"", "GET"): "authority",
    (b"http:///x", b"a", "GET"): "authority",
    (b"http://u@a/", b"a", "GET"): "authority",
    (b"http://a#x", b"a", "GET"): "target-form",
    (b"http://a\\x", b"a", "GET"): "authority",
    (b"http://", b"a", "GET"): "target-form",
    (b"https://", b"a", "GET"): "target-form",
    (b"http:/a", b"a", "GET"): "target-form",
    (b"http:a", b"a", "GET"): "target-form",
    (b"ftp://a/", b"a", "GET"): "target-form",
    (b"ws://a/", b"a", "GET"): "target-form",
    (b"javascript:a", b"a", "GET"): "target-form",
    (b"a", b"a", "GET"): "target-form",
    (b"a:80", b"a", "GET"): "target-form",
    (b"?x", b"a", "GET"): "target-form",
    (b"\\", b"a", "GET"): "target-form",
    (b"*", b"a", "OPTIONS"): ("a", "*", None),
    (b"*", None, "OPTIONS"): ("", "*", None),
    (b"*", b"a@", "OPTIONS"): "authority",
    (b"http://a", b"a", "OPTIONS"): ("a", "*", None),
    (b"http://a/", b"a", "OPTIONS"): ("a", "/", None),
    (b"http://b", b"a", "OPTIONS"): "host-mismatch",
    (b"*", b"a", "GET"): "target-form",
    (b"**", b"a", "OPTIONS"): "target-form",
    (b"*?x", b"a", "OPTIONS"): "target-form",
    (b"a:443", b"a:443", "CONNECT"): ("a:443", "", None),
    (b"[::1]:443", b"[::1]:443", "CONNECT"): ("[::1]:443", "", None),
    (b"a:80", b"a", "CONNECT"): ("a", "", None),
    (b"a", b"a", "CONNECT"): "authority",
    (b"a:", b"a", "CONNECT"): "authority",
    (b"[::1]", b"[::1]", "CONNECT"): "authority",
    (b"/", b"a", "CONNECT"): "authority",
    (b"*", b"a", "CONNECT"): "authority",
    (b"http://a:80/", b"a", "CONNECT"): "authority",
    (b"a:443", b"b:443", "CONNECT"): "host-mismatch",
}


@pytest.mark.parametrize("case", TARGETS)
def test_target(case: Target) -> None:
    target, host, method = case
    expected = TARGETS[case]
    assert verdict(lambda: split_target(target, False, host, method)) == expected
    assert verdict(lambda: oracle_target.split_target(target, False, host, method)) == expected
    line = b"%s %s HTTP/1.%d\r\n" % (method.encode(), target, host is not None)
    head = b"\r\n" + line + (b"" if host is None else b"x: y\r\nhost: " + host + b"\r\n") + b"\r\n"
    whole = verdict(lambda: split_head(head, False))
    assert (whole if isinstance(whole, str) else whole[1]) == expected


@pytest.mark.parametrize(
    ("line", "form"),
    [
        (b"GET / HTTP/1.1", "plain"),
        (b"CONNECT a HTTP/1.1", None),
        (b"CONNECT a:80 HTTP/1.1", "authority"),
        (b"OPTIONS * HTTP/1.1", "asterisk"),
        (b"GET http://a/ HTTP/1.1", "absolute"),
    ],
)
def test_form(line: bytes, form: str | None) -> None:
    found = verdict(lambda: split_head(line + b"\r\nHost: a\r\n\r\n", False))
    assert (found if form is None else found[0]) == (form or "authority")
    assert split_head(b"GET / HTTP/1.0\r\n\r\n", True) == ("no-host", ("", "/", None))


def test_the_listener_decides_the_default_port() -> None:
    assert split_target(b"/", True, b"a:443") == ("a", "/", None)
    assert split_target(b"http://a:80/", True, b"a:80") == ("a:80", "/", None)
    assert verdict(lambda: split_target(b"http://a:80/", True, b"a")) == "host-mismatch"


@pytest.mark.parametrize("target", [b"", b" ", b"/ ", b"/\0", b"/\x80", b"/\r\n"])
def test_not_a_target(target: bytes) -> None:
    assert verdict(lambda: split_target(target, False, b"a")) == "target"
    assert verdict(lambda: oracle_target.split_target(target, False, b"a")) == "target"


TEXT = st.lists(
    st.sampled_from([b"http://", b"https://", b"a", b"B", b"/", b"/", b"?", b"#", b":", b"80", b"*", b"..",
    b"%2e", b"@"]),
    min_size=1,
    max_size=9,
).map(b"".join)  # fmt: skip


@settings(max_examples=500, deadline=None)
@given(
    target=TEXT,
    host=st.sampled_from([None, b"a", b"A:80", b"b", b"a:443", b"", b"a@b"]),
    method=st.sampled_from(["GET", "OPTIONS", "CONNECT"]),
    https=st.booleans(),
)
def test_any_target(target: bytes, host: bytes | None, method: str, https: bool) -> None:
    own = verdict(lambda: split_target(target, https, host, method))
    other = verdict(lambda: oracle_target.split_target(target, https, host, method))
    assert isinstance(own, str) == isinstance(other, str)
    if not isinstance(own, str):
        assert own == other
