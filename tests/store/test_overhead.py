"""What an object costs beside its key, head and body: at most 200 bytes, everything included that a node has on."""

from __future__ import annotations

import math
import random

import pytest

from cdn.config.values import FieldEdits
from cdn.proxy.drafts import draft as draft_of
from cdn.store import POLICIES, Memory
from cdn.store.opening import WORKERS
from tests.rules.make import stored

LINES = (
    "Cache-Control: max-age=3600",
    "Vary: accept-encoding",
    'ETag: "5f2c-61b"',
    "Content-Type: text/html",
)


def filled(
    policy: str, size: int, lengths: list[int], workers: int = WORKERS, rounds: int = 1
) -> tuple[float, float]:
    """Bytes for each object beside key, head and body, and their mean length with those.

    When the first has to go, or, the mean of a round, when so many rounds have gone by.
    """
    memory = Memory(size, bytes(16), workers=workers, policy=policy)
    draft = draft_of(stored(*LINES), FieldEdits())
    body = memoryview(bytes(max(lengths)))
    n = 0

    def put() -> None:
        nonlocal n
        length = lengths[n % len(lengths)]
        assert memory.publish(b"http/site.test/%06d" % n, draft, body[:length]) is not None
        n += 1

    def costs() -> tuple[float, float]:
        s = memory.stats()
        useful = int(s["object_bytes"]) / int(s["objects"]) - len(draft.meta)
        return size / int(s["objects"]) - useful, useful

    while memory.stats()["evictions"] == 0:
        put()
    parts = memory.account()
    assert sum(parts.values()) == memory.stats()["size"]
    assert min(parts.values()) >= 0
    if rounds == 1:
        return costs()
    full = n
    while n < (rounds - 1) * full:
        put()
    seen = []
    while n < rounds * full:
        put()
        if n % 50 == 0:
            seen.append(costs())
    memory.audit()
    return sum(over for over, _ in seen) / len(seen), sum(useful for _, useful in seen) / len(seen)


def lognormal(median: float, sigma: float, most: int) -> list[int]:
    rng = random.Random(4)
    return [min(most, int(rng.lognormvariate(math.log(median), sigma))) for _ in range(20_000)]


@pytest.mark.parametrize("policy", POLICIES)
def test_an_object_of_1_kib_costs_200_bytes_at_most(policy: str) -> None:
    # a few lengths, so that rounding is what it is on average
    over, _ = filled(policy, 128 << 20, list(range(1008, 1040)))
    assert 96 < over <= 200


@pytest.mark.parametrize("policy", POLICIES)
def test_no_more_with_mixed_sizes(policy: str) -> None:
    """What grows with the size of the store and not with what is in it is next to nothing."""
    over, useful = filled(policy, 256 << 20, lognormal(2000, 1.2, 60_000), workers=2)
    assert useful > 4000
    assert 96 < over <= 200


@pytest.mark.parametrize("policy", POLICIES)
def test_large_ones_cost_little_more_in_a_small_store(policy: str) -> None:
    """What no table goes below counts for more where there are few objects."""
    over, useful = filled(policy, 256 << 20, lognormal(8000, 1.0, 4 << 20), workers=2)
    assert useful > 13_000
    assert 96 < over <= 200


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(("median", "sigma", "most"), [(2000, 1.2, 180), (8000, 1.0, 200)])
def test_little_more_when_it_has_been_full_for_long(
    policy: str, median: float, sigma: float, most: int
) -> None:
    """What goes leaves holes: bodies lie in pieces of few lengths, and what is left is moved together."""
    over, _ = filled(policy, 200 << 20, lognormal(median, sigma, 4 << 20), workers=2, rounds=4)
    assert 96 < over <= most


@pytest.mark.full
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(("sigma", "mean"), [(1.0, 13_000), (1.5, 24_000)])
def test_no_more_with_large_ones(policy: str, sigma: float, mean: int) -> None:
    over, useful = filled(policy, 1 << 30, lognormal(8000, sigma, 4 << 20), workers=2)
    assert useful > mean
    assert 96 < over <= 200
