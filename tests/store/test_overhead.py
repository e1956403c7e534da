"""What an object costs beside its key, head and body: at most 200 bytes, everything included that a node has on."""

from __future__ import annotations

import random

import pytest

from cdn.config.values import FieldEdits, StoreConfig
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


def filled(policy: str, size: int, lengths: list[int]) -> tuple[float, float]:
    """Bytes for each object beside key, head and body, and their mean length with those."""
    memory = Memory(size, bytes(16), workers=WORKERS, policy=policy)
    draft = draft_of(stored(*LINES), FieldEdits())
    n = 0
    while memory.stats()["evictions"] == 0:
        length = lengths[n % len(lengths)]
        assert memory.publish(b"http/site.test/%06d" % n, draft, bytes(length)) is not None
        n += 1
    s = memory.stats()
    useful = int(s["object_bytes"]) / int(s["objects"]) - len(draft.meta)
    return size / int(s["objects"]) - useful, useful


@pytest.mark.parametrize("policy", POLICIES)
def test_an_object_of_1_kib_costs_200_bytes_at_most(policy: str) -> None:
    # a few lengths, so that rounding is what it is on average
    over, _ = filled(policy, 128 << 20, list(range(1008, 1040)))
    assert 112 < over <= 200


def test_mixed_sizes_cost_little_more() -> None:
    """The index is as large as what is stored needs; other tables count for more where there are fewer objects."""
    rng = random.Random(4)
    lengths = [min(60_000, int(rng.lognormvariate(7.6, 1.2))) for _ in range(5000)]
    over, useful = filled(StoreConfig().eviction, 128 << 20, lengths)
    assert useful > 4000
    assert 112 < over < 220
