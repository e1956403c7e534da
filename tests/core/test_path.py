"""The normal form of paths: a table, the plain twin, and what must hold for any path."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdn._core import HeadError, normal_path
from tests.core import oracle_target

SAME = [
    b"/", b"/a", b"/a/b", b"/a/b/", b"//", b"//a", b"/a//b", b"/a//", b"///", b"/a.b", b"/.a", b"/..a",
    b"/a.", b"/a..",
    b"/...", b"/.../a", b"/a;x=1", b"/a;..", b"/..;/a", b"/.;/a", b"/a=b&c", b"/!$&'()*+,;=:@", b"/a:b",
    b"/-._~", b"/%2F",
    b"/%20", b"/%25", b"/%252e", b"/%C3%A9", b"/%80", b"/%FF", b"/%3F", b"/%23", b"/%22", b"/%3B", b"/a%2Fb",
    b"/account%2Fx.css",
]  # fmt: skip
TABLE: dict[bytes, str] = {
    b"": "/",
    b"/%41%5a%61%7A%30%39": "/AZaz09",
    b"/%2d%2E%5f%7e": "/-._~",
    b"/%7euser": "/~user",
    b"/%2f": "/%2F",
    b"/%2fa%2Fb": "/%2Fa%2Fb",
    b"/caf%c3%a9": "/caf%C3%A9",
    b"/%3a%40%21": "/%3A%40%21",
    b"/%252f": "/%252f",
    b"/%25%32%65": "/%252e",
    b"/.": "/",
    b"/./": "/",
    b"/..": "/",
    b"/../": "/",
    b"/../..": "/",
    b"/../../etc/passwd": "/etc/passwd",
    b"/a/.": "/a/",
    b"/a/./": "/a/",
    b"/a/./b": "/a/b",
    b"/a/..": "/",
    b"/a/../": "/",
    b"/a/../b": "/b",
    b"/a/b/..": "/a/",
    b"/a/b/../": "/a/",
    b"/a/b/../c": "/a/c",
    b"/a/b/../../c": "/c",
    b"/a/b/../../../c": "/c",
    b"/a/./b/./../c/.": "/a/c/",
    b"/a//../b": "/a/b",
    b"/a//..//b": "/a//b",
    b"//..": "/",
    b"//../a": "/a",
    b"/.//a": "//a",
    b"/%2e": "/",
    b"/%2E/a": "/a",
    b"/a/%2e%2e/b": "/b",
    b"/a/%2E%2e": "/",
    b"/a/.%2e/b": "/b",
    b"/a/%2e./b": "/b",
    b"/static/../account": "/account",
    b"/static/..%2faccount": "/static/..%2Faccount",
    b"/static/%2e%2e%2faccount": "/static/..%2Faccount",
    b"/%2e%2e/%2e%2e/x": "/x",
    b"/a/%2e%2e%2e": "/a/...",
    b"/a/..%2e": "/a/...",
    b'/"': "/%22",
    b"/<a>": "/%3Ca%3E",
    b"/[0]": "/%5B0%5D",
    b"/^": "/%5E",
    b"/`": "/%60",
    b"/{id}": "/%7Bid%7D",
    b"/a|b": "/a%7Cb",
    b"/%5b0%5D": "/%5B0%5D",
    b"/%7b%7C%7d": "/%7B%7C%7D",
    b"/a/{/../b": "/a/b",
}
REFUSED = [
    b"a", b"a/b", b".", b"..", b"*", b"?", b"%2f", b"/\\", b"/a\\b", b"\\a", b"/..\\a", b"/%5c", b"/%5Ca",
    b"/..%5c", b"/%00",
    b"/a%00.css", b"/%01", b"/%0a", b"/%0D%0A", b"/%09", b"/%1f", b"/%7f", b"/%", b"/%2", b"/a%", b"/%g0",
    b"/%0g", b"/%%41",
    b"/%2%65", b"/% 41", b"/%u0041", b"/%-1", b"/ ", b"/a b", b"/a?b", b"/a#b", b"/\0", b"/\x01", b"/\r",
    b"/\n", b"/\t",
    b"/\x7f", b"/\x80", b"/\xc3\xa9", b"/\xff",
]  # fmt: skip


def test_there_are_enough() -> None:
    assert len(SAME) + len(TABLE) + len(REFUSED) >= 120


@pytest.mark.parametrize("path", SAME)
def test_is_normal_already(path: bytes) -> None:
    assert normal_path(path) == oracle_target.path(path) == path.decode()


@pytest.mark.parametrize("path", TABLE)
def test_table(path: bytes) -> None:
    normal = TABLE[path]
    assert normal_path(path) == oracle_target.path(path) == normal
    assert normal_path(normal.encode()) == normal


@pytest.mark.parametrize("path", REFUSED)
def test_refused(path: bytes) -> None:
    with pytest.raises(HeadError) as fault:
        normal_path(path)
    assert (fault.value.status, fault.value.name) == (400, "path")
    with pytest.raises(oracle_target.RefusedError):
        oracle_target.path(path)


def test_long_paths() -> None:
    """Three bytes for one is what the room is made for, and going up again and again is linear."""
    assert normal_path(b"/" + b"|" * 20_000) == "/" + "%7C" * 20_000
    assert normal_path(b"/a" * 20_000 + b"/.." * 20_000) == "/"
    assert normal_path(b"/" * 20_000 + b".." + b"/.." * 10_000) == "/" * (20_000 - 10_001)


PARTS = st.sampled_from(
    [b"/", b"/", b"/", b".", b"..", b"%2e", b"%2E", b"%2f", b"%41", b"%c3", b"%25", b"a", b"bc", b";", b"|",
    b"~", b"%", b"%5c", b"\\"]
)  # fmt: skip
TAILS = st.lists(st.one_of(PARTS, st.binary(max_size=2)), max_size=14).map(b"".join)
PATHS = st.tuples(st.sampled_from([b"/", b"/", b"/", b""]), TAILS).map(b"".join)


@settings(max_examples=1000, deadline=None)
@given(path=PATHS)
def test_any_path(path: bytes) -> None:
    """As the twin; idempotent; only bytes that a path may hold; no dot segment is left."""
    expected = None
    with suppress(oracle_target.RefusedError):
        expected = oracle_target.path(path)
    if expected is None:
        with pytest.raises(HeadError):
            normal_path(path)
        return
    normal = normal_path(path)
    assert normal == expected
    assert normal_path(normal.encode()) == normal
    assert normal.startswith("/")
    assert not {".", ".."} & set(normal.split("/"))
    assert set(normal) <= set(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,;=:@/%"
    )
