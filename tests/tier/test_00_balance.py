"""The order in which servers are asked: weights, back-off, and nothing left to chance but the start."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from cdn.tier.balance import BACK_OFF_MAX_MS, BACK_OFF_MS, Balancer


def picks(balancer: Balancer, count: int, now: int = 0) -> str:
    return "".join("abcdef"[balancer.pick(now) or 0] for _ in range(count))


def test_equal_weights_take_turns() -> None:
    assert picks(Balancer([1, 1, 1]), 7) == "abcabca"


def test_weights_are_spread_not_bunched() -> None:
    assert picks(Balancer([3, 1]), 8) == "aabaaaba"
    assert picks(Balancer([5, 1, 1]), 7) == "aabacaa"


def test_start_moves_the_first_pick() -> None:
    assert [picks(Balancer([1, 1, 1], start=n), 3) for n in range(4)] == ["abc", "bca", "cab", "abc"]


def test_no_server_no_pick() -> None:
    assert Balancer([], start=5).pick(0) is None


def test_tried_servers_are_not_picked_again() -> None:
    balancer = Balancer([1, 1])
    assert balancer.pick(0, [0]) == 1
    assert balancer.pick(0, [1]) == 0
    assert balancer.pick(0, [0, 1]) is None


def test_a_failed_server_is_asked_last_until_its_back_off_ends() -> None:
    balancer = Balancer([1, 1])
    balancer.failed(0, 1_000)
    assert picks(balancer, 4, 1_000) == "bbbb"
    assert balancer.pick(1_000, [1]) == 0
    assert set(picks(balancer, 4, 1_000 + BACK_OFF_MS)) == {"a", "b"}


def test_where_all_failed_the_one_longest_ago_is_asked_first() -> None:
    balancer = Balancer([1, 1, 1])
    for server, when in ((1, 10), (2, 20), (0, 30)):
        balancer.failed(server, when)
    order: list[int] = []
    while (pick := balancer.pick(40, order)) is not None:
        order.append(pick)
    assert order == [1, 2, 0]


def test_back_off_grows_to_a_bound_and_success_forgets_it() -> None:
    balancer = Balancer([1, 1])
    for _ in range(40):
        balancer.failed(0, 0)
    assert picks(balancer, 2, BACK_OFF_MAX_MS - 1) == "bb"
    assert "a" in picks(balancer, 3, BACK_OFF_MAX_MS)
    balancer.worked(0)
    balancer.failed(0, 0)
    assert "a" in picks(balancer, 3, BACK_OFF_MS)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(0, 50))
def test_a_full_round_gives_each_server_its_weight(weights: list[int], start: int) -> None:
    balancer = Balancer(weights, start=start)
    assert Counter(balancer.pick(0) for _ in range(sum(weights))) == dict(enumerate(weights))
