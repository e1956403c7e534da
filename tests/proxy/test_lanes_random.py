"""Whatever clients and origins say: the fast lanes answer, ask, store and log what the general lane does."""

from __future__ import annotations

import pytest

from tests.proxy import rough

REDUCED, STATED, EACH = 2, 40, 20


@pytest.mark.parametrize(
    "part", [pytest.param(n, marks=[pytest.mark.full] if n >= REDUCED else []) for n in range(STATED)]
)
def test_rough_rounds(part: int) -> None:
    """`full`: 800 rounds; another range of seeds is another test."""
    for seed in range(part * EACH, (part + 1) * EACH):
        what = rough.round_of(seed)
        said = rough.difference(what)
        assert said is None, f"seed {seed}: {said}"
