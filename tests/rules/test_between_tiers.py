"""Which of a route's response edits a shield makes: none that an edge would miss."""

from __future__ import annotations

import pytest

from cdn.config.values import FieldEdits
from cdn.rules.between_tiers import shield_edits
from cdn.rules.storing import DECIDING


@pytest.mark.parametrize("name", sorted(DECIDING | {"set-cookie", "content-type", "no-vary-search"}))
def test_what_an_edge_decides_by_stays(name: str) -> None:
    edits = FieldEdits(set=((name.title(), "x"), ("X-Frame-Options", "DENY")), remove=(name, "server"))
    assert shield_edits(edits, ()) == FieldEdits((("X-Frame-Options", "DENY"),), ("server",))


def test_the_targets_of_the_route_stay() -> None:
    edits = FieldEdits(remove=("cdn-cache-control", "server"))
    assert shield_edits(edits, ("cdn-cache-control",)).remove == ("server",)
    assert shield_edits(edits, ()) == edits


def test_other_edits_are_made() -> None:
    edits = FieldEdits(set=(("X-A", "1"),), remove=("server", "x-powered-by"))
    assert shield_edits(edits, ("cdn-cache-control",)) == edits
