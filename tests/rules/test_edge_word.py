"""The word between tiers: what is believed, and that nothing else is."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdn.rules.edge_word import LIFETIME, Edge, believe, word

SECRET = b"0123456789abcdef"
NOW = 1_700_000_000
ABOUT = {"method": "GET", "host": "site.test", "target": "/a?b=c"}


def said(**other: object) -> str:
    return word(SECRET, **{"now": NOW, "scheme": "https", **ABOUT, **other})  # type: ignore[arg-type]


def heard(
    value: str, secret: bytes | None = SECRET, *, verified: bool = False, **other: object
) -> Edge | None:
    return believe(value, secret, verified=verified, **{"now": NOW, **ABOUT, **other})  # type: ignore[arg-type]


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("late", [-LIFETIME, 0, LIFETIME])
def test_a_word_is_believed_for_its_minute(scheme: str, late: int) -> None:
    assert heard(said(scheme=scheme), now=NOW + late) == Edge(scheme)


@pytest.mark.parametrize(
    ("value", "other"),
    [
        (said(), {"now": NOW + LIFETIME + 1}),
        (said(), {"now": NOW - LIFETIME - 1}),
        (said(), {"method": "POST"}),
        (said(), {"host": "other.test"}),
        (said(), {"target": "/a?b=d"}),
        (said(), {"secret": b"another secret.."}),
        (said(), {"secret": None}),
        (said().replace("https", "http"), {}),
        (said(scheme="ftp"), {}),
        (said()[:-1], {}),
        (said() + "0", {}),
        (said().upper(), {}),
        (said().replace("v1", "v2"), {}),
        (said().partition(";mac=")[0], {}),
        ("", {}),
        (";mac=", {}),
        ("v1;mac=" + "0" * 64, {}),
        ("v1;t=" + "9" * 600, {"verified": True}),
        ("v1;t=\u00b2;scheme=https", {"verified": True}),
        (f"v1;t={NOW}", {"verified": True}),
        (f"v1;t=-{NOW};scheme=https", {"verified": True}),
        (f"t={NOW};scheme=https", {"verified": True}),
    ],
)
def test_another_is_not(value: str, other: dict[str, object]) -> None:
    assert heard(value, **other) is None  # type: ignore[arg-type]


def test_a_proven_connection_needs_no_code_and_a_wrong_code_is_still_wrong() -> None:
    bare = word(None, now=NOW, scheme="https", **ABOUT)
    assert "mac" not in bare
    assert heard(bare, None, verified=True) == Edge("https")
    assert heard(bare, SECRET, verified=True) == Edge("https")
    assert heard(bare, None) is None
    assert heard(f"{bare};mac=00", SECRET, verified=True) is None


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(max_codepoint=255), max_size=200))
def test_any_text_is_refused_quietly(value: str) -> None:
    assert heard(value) is None


def test_a_word_says_which_purge_the_edge_knows() -> None:
    assert heard(said(place="1c3.4711")) == Edge("https", (0x1C3, 4711))
    assert heard(said()) == Edge("https", None)


def test_the_purge_is_covered_by_the_code() -> None:
    good = said(place="1c3.4711")
    assert heard(good.replace("4711", "4710")) is None
    assert heard(good.replace(";seq=1c3.4711", "")) is None


@pytest.mark.parametrize(
    "seq", ["", "1", ".1", "1.", "x.1", "1.x", "100000.1".replace("100000", "1000000"), "1.1.1", "1.-1"]
)
def test_a_place_that_is_none_is_not_believed(seq: str) -> None:
    assert heard(said(place=seq)) is None
