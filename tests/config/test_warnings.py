"""What `cdn check` warns of."""

from __future__ import annotations

import re
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdn.config import Match, parse, warnings
from cdn.config.advice import _covers

HEAD = """\
listen: [http://127.0.0.1:8080]
origins:
  app: {servers: [http://127.0.0.1:9000]}
"""


def said(routes: str, head: str = HEAD) -> list[str]:
    return warnings(parse(head + "routes:\n" + routes))


def test_nothing_to_say() -> None:
    assert said("  - {match: {host: [a.example]}, origin: app}\n") == []


def test_every_host_is_known() -> None:
    assert said("  - {match: {path: /*}, origin: app}\n") == [
        "routes[0] (`/*`) names no host: every Host is known, none is answered 421"
    ]
    assert said("  - {match: {path: /a}, origin: app}\n  - {match: {path: /b}, origin: app}\n") == [
        "routes[0] (`/a`) and 1 more name no host: every Host is known, none is answered 421"
    ]


@pytest.mark.parametrize(
    ("path", "prefix", "warned"),
    [
        ("/shop/*", "/shop", False),
        ("/shop", "/shop", False),
        ("/shop*", "/shop", False),
        ("/shop/a/*", "/shop", False),
        ("/*", "/shop", False),
        ("/s*", "/shop", False),
        ("/shop/*", "/shop/a", False),
        ("/shop/*", "/ship", True),
        ("/shopping/*", "/shop", True),
        ("/shop", "/shop/a", True),
        ("/shop/*", "/", False),
    ],
)
def test_a_prefix_that_is_never_there(path: str, prefix: str, warned: bool) -> None:
    route = f"  - {{match: {{host: [a.example], path: {path}}}, origin: app, rewrite: {{strip_prefix: {prefix}}}}}\n"
    wanted = [f"routes[0] (`a.example {path}`) strips `{prefix}`, which none of its paths begins with"]
    assert said(route) == (wanted if warned else [])


def test_origins_that_verify_nobody_or_have_nobody() -> None:
    head = HEAD.replace(
        "{servers: [http://127.0.0.1:9000]}", "{servers: [{url: https://a, drain: true}], tls: {verify: no}}"
    )
    assert said("  - {match: {host: [a.example]}, origin: app}\n", head) == [
        "origins.app.tls verifies no certificate: anybody on the way can answer for it",
        "origins.app has no server to ask: all of them drain",
    ]


def test_never_reached() -> None:
    routes = (
        "  - {match: {host: [a.example], path: /x/*}, origin: app}\n"
        "  - {match: {host: [a.example]}, origin: app}\n"
        "  - {match: {host: [a.example], path: /y, method: [GET]}, origin: app}\n"
        "  - {match: {host: [a.example, b.example]}, origin: app}\n"
    )
    assert said(routes) == [
        "routes[2] (`a.example /y`) is never reached: routes[1] (`a.example /*`) takes all its requests"
    ]


def test_unused_origin_and_trust_in_everybody() -> None:
    head = HEAD + "  old: {servers: [http://127.0.0.1:9001]}\ntrusted_proxies: [10.0.0.0/8, 0.0.0.0/0]\n"
    assert said("  - {match: {host: [a.example]}, origin: app}\n", head) == [
        "origins.old is used by no route",
        "trusted_proxies holds 0.0.0.0/0: every client can claim any address",
    ]


def test_codings_that_come_to_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    route = "  - {match: {host: [a.example]}, origin: app, compress: [zstd, br], cache: %s}\n"
    monkeypatch.setattr("cdn.config.advice.find_spec", lambda name: None)
    assert said(route % "off") == [
        "routes[0] (`a.example /*`) has `compress`, and its cache is off: only what is stored is compressed"
    ]
    assert said(route % "{}") == [
        "routes[0] (`a.example /*`) lists zstd, which needs another package: pip install 'cdn[zstd]'"
    ]
    monkeypatch.setattr("cdn.config.advice.find_spec", lambda name: name)
    assert said(route % "{}") == []


@pytest.mark.parametrize(
    ("one", "other", "covers"),
    [
        (Match(), Match(("a",), "/x", ("GET",)), True),
        (Match(("a",)), Match(), False),
        (Match(("*.a",)), Match(("x.a", "*.x.a", "*.a")), True),
        (Match(("*.a",)), Match(("a",)), False),
        (Match(("*.a",)), Match(("xa",)), False),
        (Match(("a", "b")), Match(("b", "a")), True),
        (Match(("a",)), Match(("a", "b")), False),
        (Match(methods=("GET",)), Match(), False),
        (Match(methods=("GET", "HEAD")), Match(methods=("HEAD",)), True),
        (Match(path="/a/*"), Match(path="/a/b/*"), True),
        (Match(path="/a/*"), Match(path="/a*"), False),
        (Match(path="/*.css"), Match(path="/x/*.css"), True),
        (Match(path="/*.css"), Match(path="/x/*"), False),
        (Match(path="/a.c"), Match(path="/abc"), False),
    ],
)
def test_covers(one: Match, other: Match, covers: bool) -> None:
    assert _covers(one, other) is covers


PATTERNS = st.text(alphabet="ab*", max_size=5).map(lambda text: "/" + text)
PATHS = ["/" + "".join(letters) for length in range(6) for letters in product("ab", repeat=length)]


@given(PATTERNS, PATTERNS)
def test_a_covered_pattern_matches_nothing_else(one: str, other: str) -> None:
    if _covers(Match(path=one), Match(path=other)):
        for path in PATHS:
            if _matches(other, path):
                assert _matches(one, path), (one, other, path)


def _matches(pattern: str, path: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), path) is not None
