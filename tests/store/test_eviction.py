"""Who goes: the leaves against plain Python, LRU with TTL as a whole against cachetools."""

from __future__ import annotations

import itertools
import math
import random
from bisect import bisect_left

import pytest
from cachetools import LRUCache, TLRUCache
from hypothesis import given, settings
from hypothesis import strategies as st

from cdn._core import lru_choice, sized_choice
from cdn.store import Draft, Memory
from tests.store.bodies import FAR

HEAD = b"HTTP/1.1 200 OK\r\n"
TICK = 16  # ms: the unit of access stamps
WRAP = 1 << 32
AHEAD = 0xF000_0000  # an idle time from here on is a stamp ahead of the clock

Candidates = list[tuple[int, int, int, int, int]]


def lru_oracle(candidates: Candidates, clock: int, serial: int, now: int) -> int:
    def order(i: int) -> tuple[bool, int, int, int]:
        access, stored, _, expires, useful_until = candidates[i]
        idle = (clock - access) % WRAP
        if idle >= AHEAD:
            idle = 0
        useless = useful_until <= now
        if not useless and expires <= now:
            idle *= 2
        return useless, idle, (serial - stored) % WRAP, -i

    return max(range(len(candidates)), key=order, default=-1)


def sized_oracle(candidates: Candidates, clock: int, now: int) -> int:
    def order(i: int) -> tuple[bool, float, int, int]:
        access, _, weight, expires, useful_until = candidates[i]
        idle = float((clock - access // 16) % 2**28 + 819)
        burden = idle * idle * weight * math.sqrt(weight) / (1 + access % 16)
        return useful_until <= now, 4 * burden if expires <= now else burden, weight, -i

    return max(range(len(candidates)), key=order, default=-1)


small = st.integers(0, 40)
stamps = st.one_of(st.integers(0, 30), st.integers(WRAP - 10, WRAP - 1), st.integers(0, WRAP - 1))
serials = st.one_of(st.integers(0, 5), st.integers(WRAP - 3, WRAP - 1))
candidate = st.tuples(stamps, serials, st.integers(0, 3), small, small)
words = st.builds(
    lambda clock, uses: (clock % 2**28) << 4 | uses,
    st.one_of(st.integers(-5, 30), st.integers(0, 2**28)),
    st.integers(0, 15),
)
weighed = st.tuples(words, serials, st.one_of(st.integers(0, 300), st.integers(0, 1 << 50)), small, small)


@settings(deadline=None)
@given(st.lists(candidate, max_size=12), stamps, serials, small)
def test_lru_leaf_against_plain_python(candidates: Candidates, clock: int, serial: int, now: int) -> None:
    assert lru_choice(candidates, clock, serial, now) == lru_oracle(candidates, clock, serial, now)


@settings(deadline=None)
@given(st.lists(weighed, max_size=12), st.one_of(st.integers(0, 30), st.integers(0, 2**28 - 1)), small)
def test_sized_leaf_against_plain_python(candidates: Candidates, clock: int, now: int) -> None:
    assert sized_choice(candidates, clock, now) == sized_oracle(candidates, clock, now)


def test_lru_leaf_by_example() -> None:
    useful, gone = (FAR, FAR), (0, 0)
    assert lru_choice([], 0, 0, 0) == -1
    assert lru_choice([(5, 1, 1, *useful), (3, 2, 1, *useful), (9, 3, 1, *useful)], 10, 3, 50) == 1
    assert lru_choice([(5, 1, 1, *useful), (9, 2, 1, *gone)], 10, 2, 50) == 1, (
        "of no use: first, however recent"
    )
    assert lru_choice([(5, 1, 1, *useful), (7, 2, 1, 0, FAR)], 10, 2, 50) == 1, "expired: 3 ticks count as 6"
    assert lru_choice([(3, 1, 1, *useful), (7, 2, 1, 0, FAR)], 10, 2, 50) == 0, "but not as nothing"
    assert lru_choice([(5, 8, 9, *useful), (5, 7, 2, *useful)], 10, 9, 50) == 1, "of equals who came first"
    assert lru_choice([(WRAP - 1, 1, 1, *useful), (2, 2, 1, *useful)], 3, 2, 50) == 0, "stamps wrap"
    assert lru_choice([(12, 1, 1, *useful), (9, 2, 1, *useful)], 10, 2, 50) == 1, "ahead of the clock is now"
    with pytest.raises(OverflowError):
        lru_choice([(-1, 0, 0, 0, 0)], 0, 0, 0)


def test_sized_leaf_by_example() -> None:
    useful, gone = (FAR, FAR), (0, 0)
    assert sized_choice([], 0, 0) == -1
    assert sized_choice([(0, 0, 1000, *useful), (0, 0, 4000, *useful)], 0, 50) == 1, "the larger of equal use"
    assert sized_choice([(0, 0, 1000, *useful), (1, 0, 1500, *useful)], 0, 50) == 0, (
        "twice the use: 1.6 times"
    )
    assert sized_choice([(0, 0, 1000, *useful), (1, 0, 1700, *useful)], 0, 50) == 1, "as large, not larger"
    assert sized_choice([(3 << 4, 0, 1000, *useful), (2 << 4, 0, 1000, *useful)], 4, 50) == 1, (
        "unused for longer"
    )
    idle = 819 << 4  # 819 is how long at least everything counts as unused
    assert sized_choice([(idle, 0, 2500, *useful), (0, 0, 1000, *useful)], 819, 50) == 1, (
        "twice as long: 2½ times"
    )
    assert sized_choice([(idle, 0, 2600, *useful), (0, 0, 1000, *useful)], 819, 50) == 0, (
        "as large, not larger"
    )
    assert sized_choice([(0, 0, 4000, *useful), (15, 0, 1000, *gone)], 0, 50) == 1, "of no use goes first"
    assert sized_choice([(0, 0, 1000, *useful), (1, 0, 1000, 0, FAR)], 0, 50) == 1, "expired counts half"
    assert sized_choice([(0, 0, 1000, *useful), (4, 0, 1000, 0, FAR)], 0, 50) == 0, "but not as nothing"
    top = 2**28 - 10
    assert sized_choice([(top << 4, 0, 100, *useful), (5 << 4, 0, 100, *useful)], 5, 50) == 0, (
        "the clock wraps"
    )


def draft(now: int, until: int = FAR, **validator: int) -> Draft:
    return Draft(200, HEAD, 17, now, until, until, until, now, **validator)


def keys_of(memory: Memory) -> set[bytes]:
    return set(memory.keys())


def test_exact_lru_when_the_sample_is_everything() -> None:
    """The same keys as cachetools.LRUCache at every step; bodies are equal, so that weights are counts."""
    rng = random.Random(7)
    memory = Memory(1 << 20, bytes(16), sample=10_000)
    now = 0
    n = 0
    while memory.stats()["evictions"] == 0:
        now += TICK
        memory.publish(b"fill%06d" % n, draft(now), bytes(1500))
        n += 1
    capacity = int(memory.stats()["objects"])
    memory.purge_all()
    twin: LRUCache[bytes, int] = LRUCache(capacity)
    trace = zipf(3000, 0.8, 6000, rng)
    for step in range(6000):
        now += TICK
        key = b"key_%06d" % trace[step]
        entry = memory.lookup(key)
        assert (entry is not None) == (key in twin), f"step {step}"
        if entry is not None:
            entry.touch(now)
            twin[key]
        else:
            memory.publish(key, draft(now), bytes(1500))
            twin[key] = step
        if step % 50 == 0:
            assert keys_of(memory) == set(twin)
    assert memory.stats()["evictions"] > 1000
    assert memory.stats()["moved"] == 0


def test_ttl_goes_before_lru() -> None:
    """Against cachetools.TLRUCache: what has expired goes first, then the least recently used."""
    rng = random.Random(8)
    memory = Memory(1 << 20, bytes(16), sample=10_000)
    now = 0
    for n in range(1000):
        memory.publish(b"fill%06d" % n, draft(now), bytes(1500))
    capacity = int(memory.stats()["objects"])
    memory.purge_all()
    trace = zipf(1500, 0.9, 6000, rng)
    clock = [0]
    until: dict[bytes, int] = {}
    twin: TLRUCache[bytes, int] = TLRUCache(
        capacity, ttu=lambda key, _value, _now: until[key], timer=lambda: clock[0]
    )
    for step in range(6000):
        now += TICK
        memory.now = clock[0] = now
        key = b"key_%06d" % trace[step]
        entry = memory.lookup(key)
        fresh = entry is not None and entry.fresh_until > now
        assert fresh == (key in twin), f"step {step}"
        if entry is not None and fresh:
            entry.touch(now)
            twin[key]
        else:
            until[key] = now + rng.choice([100, 3000, 20_000, 400_000]) * TICK
            if entry is not None:
                entry.release()  # what is held cannot go, and another one would
            memory.publish(key, draft(now, until[key]), bytes(1500))
            twin[key] = step
    assert memory.stats()["expired_evictions"] > 100
    assert memory.stats()["evictions"] > memory.stats()["expired_evictions"]


def test_a_validator_keeps_the_expired_useful() -> None:
    memory = Memory(1 << 20, bytes(16), sample=10_000)
    memory.publish(b"no validator", draft(16_000, 17_000), bytes(1500))
    memory.publish(b"validator", draft(16_000, 17_000, last_modified=5), bytes(1500))
    memory.publish(b"stale allowed", Draft(200, HEAD, 17, 16_000, 17_000, FAR, 17_000, 16_000), bytes(1500))
    n = 0
    while memory.stats()["evictions"] == 0:
        memory.publish(b"fill%06d" % n, draft(18_000), bytes(1500))
        n += 1
    assert b"no validator" not in keys_of(memory)
    assert {b"validator", b"stale allowed"} <= keys_of(memory)


def zipf(objects: int, skew: float, requests: int, rng: random.Random) -> list[int]:
    sums = list(itertools.accumulate(1 / (i + 1) ** skew for i in range(objects)))
    return [bisect_left(sums, rng.random() * sums[-1]) for _ in range(requests)]


def lognormal(rng: random.Random) -> int:
    return min(int(rng.lognormvariate(9.0, 1.3)), 2 << 20)


def pareto(rng: random.Random) -> int:
    return min(int(rng.paretovariate(1.1) * 600), 1 << 20)


@pytest.mark.parametrize(
    ("sizes", "size"),
    [(lambda rng: 1024, 8 << 20), (lognormal, 64 << 20), (pareto, 32 << 20), (lambda rng: 70_000, 96 << 20)],
    ids=["1 KiB", "lognormal", "pareto", "70 kB"],
)
def test_hit_ratio_near_exact_lru(sizes, size) -> None:  # type: ignore[no-untyped-def]
    """Zipf 0.9 with the default sample, within 0.5 points of exact LRU over the same bytes."""
    rng = random.Random(11)
    lengths = [sizes(rng) for _ in range(20_000)]
    memory = Memory(size, bytes(16))
    room = memory.stats()["size"] - memory.stats()["fixed"]
    # what an object takes: record, key, head, body, and 4 bytes where its page lists it
    twin: LRUCache[int, int] = LRUCache(
        room, getsizeof=lambda k: (112 + 8 + 17 + lengths[k] + 15) // 16 * 16 + 4
    )
    blob = memoryview(bytes(max(lengths)))
    hits = twin_hits = 0
    trace = zipf(20_000, 0.9, 150_000, rng)
    now = 0
    for k in trace:
        now += TICK
        memory.now = now
        entry = memory.lookup(b"%08d" % k)
        if entry is not None:
            hits += 1
            entry.touch(now)
            entry.release()
        else:
            memory.publish(b"%08d" % k, draft(now), blob[: lengths[k]])
        if k in twin:
            twin_hits += 1
            twin[k]
        else:
            twin[k] = k
    assert memory.stats()["evictions"] > 10_000
    assert (twin_hits - hits) / len(trace) < 0.005, (hits / len(trace), twin_hits / len(trace))
    memory.audit()


@pytest.mark.parametrize("lengths", [(100, 8000), (0, 60), (2000, 200_000), (30_000, 60_000)])
def test_little_of_the_size_is_lost(lengths: tuple[int, int]) -> None:
    """Under churn of mixed sizes at least 85 % of the pages hold something."""
    rng = random.Random(3)
    memory = Memory(8 << 20, bytes(16), objects=70_000)
    for i in range(60_000 if lengths[1] < 100 else 12_000):
        memory.publish(b"%d" % i, draft(i * TICK), bytes(rng.randint(*lengths)))
    s = memory.stats()
    if s["objects"] < 0.9 * s["slots"]:  # else the index is what is full
        assert (s["used"] - s["fixed"]) / (s["size"] - s["fixed"]) > 0.85
    assert s["used"] <= s["size"]
    memory.audit()


def test_a_full_index_was_searched_through_for_every_short_record() -> None:
    """Where there are more of them than it may grow for, the policy says who goes, and some slots stay free."""
    memory = Memory(8 << 20, bytes(16), objects=5_000, policy="lru")
    for i in range(20_000):
        memory.publish(b"%d" % i, draft(i * TICK), b"x")
    s = memory.stats()
    assert s["slots"] < 5_100
    assert 0.92 < s["index_load"] < 0.94
    newest = [memory.lookup(b"%d" % i) is not None for i in range(20_000 - 4_000, 20_000)]
    assert sum(newest) > 0.99 * len(newest)
    memory.audit()


def test_a_shift_from_large_to_small_and_back() -> None:
    """Pages change their use when the load does."""
    memory = Memory(8 << 20, bytes(16), objects=10_000)
    now = 0
    for length in (200_000, 1000, 50_000, 300, 1_000_000, 5000):
        for i in range(20_000_000 // max(length, 2000)):
            now += TICK
            assert memory.publish(b"%d/%d" % (length, i), draft(now), bytes(length)) is not None
        memory.audit()
        stored = memory.keys()
        held = sum(1 for key in stored if key.startswith(b"%d/" % length))
        assert held * (length + 200) > 0.6 * min(memory.stats()["size"], 10_000 * (length + 200))
