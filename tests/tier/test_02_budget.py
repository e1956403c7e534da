"""Further tries are a share of what was asked lately, and a few more."""

from __future__ import annotations

from cdn.tier.budget import SLOT_MS, Budget


def spent(budget: Budget, now: int) -> int:
    count = 0
    while budget.spend(now):
        count += 1
    return count


def test_the_minimum_alone() -> None:
    budget = Budget(20, 3)
    assert spent(budget, 0) == 3
    assert (budget.spent, budget.refused) == (3, 1)


def test_a_share_of_the_requests() -> None:
    budget = Budget(20, 0)
    assert spent(budget, 0) == 0
    for _ in range(100):
        budget.request(0)
    assert spent(budget, 0) == 20
    assert spent(budget, SLOT_MS) == 0  # still the last ten seconds
    assert spent(budget, SLOT_MS * 2) == 0  # forgotten, and so are the requests


def test_it_comes_back_with_time() -> None:
    budget = Budget(0, 2)
    assert spent(budget, 0) == 2
    assert spent(budget, SLOT_MS + 1) == 0
    assert spent(budget, 2 * SLOT_MS) == 2
    assert spent(budget, 9 * SLOT_MS) == 2


def test_none_at_all() -> None:
    budget = Budget(0, 0)
    budget.request(0)
    assert not budget.spend(0)
