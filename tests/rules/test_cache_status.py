"""The Cache-Status member (RFC 9211 §2), read back with the structured-field parser."""

from __future__ import annotations

import pytest

from cdn.rules.cache_status import FORWARD_REASONS, member
from cdn.rules.outcome import Outcome
from cdn.rules.structured import Item, parse_list

CASES = [
    ({"outcome": Outcome.HIT, "ttl": 30_999}, "edge-1; hit; ttl=30"),
    ({"outcome": Outcome.HIT, "ttl": 0}, "edge-1; hit; ttl=0"),
    ({"outcome": Outcome.HIT, "ttl": -500}, "edge-1; hit; ttl=-1"),
    ({"outcome": Outcome.HIT, "fwd": "stale", "stored": True}, "edge-1; hit"),
    ({"outcome": Outcome.STALE_SWR, "ttl": -5_000}, "edge-1; hit; ttl=-5; detail=stale-swr"),
    (
        {"outcome": Outcome.STALE_SIE, "fwd_status": 503},
        "edge-1; fwd=stale; fwd-status=503; detail=stale-sie",
    ),
    ({"outcome": Outcome.STALE_SIE, "ttl": -9_000}, "edge-1; fwd=stale; ttl=-9; detail=stale-sie"),
    (
        {"outcome": Outcome.REVALIDATED, "fwd_status": 304, "stored": True, "ttl": 60_000},
        "edge-1; fwd=stale; fwd-status=304; ttl=60; stored",
    ),
    (
        {"outcome": Outcome.REVALIDATED, "fwd": "request", "fwd_status": 304},
        "edge-1; fwd=request; fwd-status=304",
    ),
    ({"outcome": Outcome.MISS}, "edge-1; fwd=uri-miss"),
    ({"outcome": Outcome.MISS, "fwd": "vary-miss", "stored": True}, "edge-1; fwd=vary-miss; stored"),
    (
        {"outcome": Outcome.MISS, "fwd_status": 200, "stored": True},
        "edge-1; fwd=uri-miss; fwd-status=200; stored",
    ),
    ({"outcome": Outcome.COLLAPSED}, "edge-1; fwd=uri-miss; collapsed"),
    ({"outcome": Outcome.PASS}, "edge-1; fwd=bypass"),
    ({"outcome": Outcome.PASS, "fwd": "method", "detail": "method"}, "edge-1; fwd=method; detail=method"),
    ({"outcome": Outcome.MISS, "detail": "no store"}, 'edge-1; fwd=uri-miss; detail="no store"'),
    ({"outcome": Outcome.MISS, "key": 'a"b'}, r'edge-1; fwd=uri-miss; key="a\"b"'),
    ({"outcome": Outcome.SYNTHETIC}, "edge-1; detail=synthetic"),
    ({"outcome": Outcome.SYNTHETIC, "detail": "loop"}, "edge-1; detail=loop"),
    ({"outcome": Outcome.ERROR}, "edge-1"),
]


@pytest.mark.parametrize(("given", "text"), CASES)
def test_member(given, text):
    assert member("edge-1", **given) == text


@pytest.mark.parametrize("outcome", list(Outcome))
@pytest.mark.parametrize("node", ["edge-1", "1st node", 'a"b', "é", ""])
def test_a_member_is_one_structured_item(node, outcome):
    (made,) = parse_list(member(node, outcome, ttl=1, fwd_status=200, stored=True, key="k", detail="x y"))
    assert isinstance(made, Item)
    assert not ("hit" in made.params and "fwd" in made.params)
    assert ("collapsed" in made.params) is (outcome is Outcome.COLLAPSED)
    assert made.params.get("fwd", "bypass") in FORWARD_REASONS
