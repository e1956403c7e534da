"""Every eviction policy: exactly what plain Python says, and what an operator expects of it."""

from __future__ import annotations

import random

import pytest
from cachetools import LRUCache

from cdn.store import POLICIES, Draft, Memory
from tests.store.bodies import FAR
from tests.store.policies import oracle
from tests.store.test_eviction import zipf

HEAD = b"HTTP/1.1 200 OK\r\n"
TICK = 16
RECORD = 96
QUEUES = [name for name in POLICIES if name != "lru"]


def draft(now: int, fresh: int = FAR, stale: int | None = None, **validator: int) -> Draft:
    until = fresh if stale is None else stale
    return Draft(200, HEAD, 17, now, fresh, until, fresh, now, **validator)


def weight(key: bytes, length: int) -> int:
    return (RECORD + len(key) + len(HEAD) + length + 7) // 8 * 8


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize(
    ("mebibytes", "mean", "sigma", "most"), [(1, 7, 1, 9000), (12, 9.5, 1.3, 500_000)], ids=["short", "long"]
)
def test_exactly_as_plain_python(
    name: str, seed: int, mebibytes: int, mean: float, sigma: float, most: int
) -> None:
    """A random trace of uses, misses, replacements and removals. How many go for want of room is the store's
    business, who they are is compared one by one: nobody goes because of where it lies."""
    rng = random.Random(seed)
    memory = Memory(mebibytes << 20, bytes(16), objects=12_000, policy=name, sample=10_000)
    s = memory.stats()
    twin = oracle(name, int(s["size"] - s["fixed"]) // 1024)
    lengths = [int(rng.lognormvariate(mean, sigma)) % most for _ in range(2500)]
    now = evicted = known = 0
    for n, k in enumerate(zipf(2500, 0.7, 9000, rng)):
        now += TICK
        memory.now = now
        key = b"%d" % k
        entry = memory.lookup(key)
        assert (entry is not None) == (key in twin), n
        dice = rng.random()
        if entry is not None and dice < 0.02:
            entry.release()
            memory.remove(key)
            twin.remove(key)
        elif entry is not None and dice < 0.9:
            entry.touch(now)
            entry.release()
            twin.use(key)
        else:
            if entry is not None:
                entry.release()
            before = int(memory.stats()["evictions"])
            known += twin.known(key)
            held = set(twin.items)
            assert memory.publish(key, draft(now), bytes(lengths[k])) is not None
            twin.kept = frozenset(memory.keys())
            gone = {twin.evict() for _ in range(int(memory.stats()["evictions"]) - before)}
            evicted += len(gone)
            assert held - twin.kept == gone - {key}, (
                n
            )  # what is replaced may have had to make room for itself
            (twin.replace if key in twin else twin.add)(key, weight(key, lengths[k]))
        if n % 500 == 0:
            memory.audit()
    assert set(memory.keys()) == set(twin.items)
    assert evicted > 1500
    assert known > 100 or not name.startswith("s3")
    memory.audit()


def test_lru_hits_as_often_as_cachetools() -> None:
    """With the sample it has by default; test_eviction.py has more sizes."""
    rng = random.Random(5)
    memory = Memory(4 << 20, bytes(16))
    twin: LRUCache[int, int] = LRUCache(memory.size - int(memory.stats()["fixed"]), getsizeof=lambda k: 2176)
    hits = twin_hits = 0
    for n, k in enumerate(zipf(6000, 0.8, 30_000, rng)):
        hits += ask(memory, b"%08d" % k, n * TICK, 2000)
        twin_hits += k in twin
        twin[k] = twin.get(k, k)
    assert abs(hits - twin_hits) / 30_000 < 0.005


def ask(memory: Memory, key: bytes, now: int, length: int, **lifetime: int) -> bool:
    """A request: whether it was a hit; a miss is stored."""
    memory.now = now
    entry = memory.lookup(key)
    if entry is None:
        assert memory.publish(key, draft(now, **lifetime), bytes(length)) is not None
        return False
    entry.touch(now)
    return True


@pytest.mark.parametrize("name", POLICIES)
def test_one_hit_wonders_do_not_drive_out_what_is_used(name: str) -> None:
    """200 objects that are asked for now and then, 20 times the store in objects that are asked for once."""
    rng = random.Random(3)
    memory = Memory(2 << 20, bytes(16), policy=name)
    hits = asked = now = 0
    for n in range(20_000):
        now += TICK
        ask(memory, b"once%d" % n, now, 1800)
        if n % 10 == 0:
            hit = ask(memory, b"often%d" % rng.randrange(200), now, 1800)
            if n > 6000:
                asked += 1
                hits += hit
    ratio = hits / asked
    assert memory.stats()["evictions"] > 10_000
    least = {"sieve": 0.75, "s3fifo": 0.87, "s3fifo-size": 0.87}
    assert ratio < 0.6 if name == "lru" else ratio > least[name], ratio


@pytest.mark.parametrize("name", POLICIES)
def test_what_is_larger_than_the_small_queue_is_let_in(name: str) -> None:
    memory = Memory(8 << 20, bytes(16), policy=name)
    now = 0
    for n in range(4000):
        now += TICK
        ask(memory, b"small%d" % (n % 1500), now, 3000)
    for n, length in enumerate([1 << 20, 3 << 20, 5 << 20]):
        now += TICK
        assert not ask(memory, b"large%d" % n, now, length)
        assert ask(memory, b"large%d" % n, now, length), "it is there"
        memory.audit()


def test_what_is_very_large_is_no_lighter_for_that() -> None:
    """Weight above six times the mean is not held against an object: it stays when one goes that was used a little
    less, although it takes as much as ten of those."""
    memory = Memory(4 << 20, bytes(16), policy="s3fifo-size", sample=10_000)
    now = TICK
    for key, length, uses in ((b"earlier", 40 << 10, 2), (b"larger", 400 << 10, 3)):
        for n in range(20):
            now += TICK
            ask(memory, b"before %s %d" % (key, n), now, 1500)
        for _ in range(uses):
            ask(memory, key, now, length)
    for n in range(6000):
        now += TICK
        for _ in range(2):
            ask(memory, b"later%d" % n, now, 1500)
        if n % 10 == 0 and b"earlier" not in (kept := set(memory.keys())):
            break
    assert b"earlier" not in kept
    assert b"larger" in kept


def pressed(name: str, sample: int = 10_000) -> tuple[Memory, int]:
    """A store that is full of objects nobody asked for again, all fresh."""
    memory = Memory(1 << 20, bytes(16), policy=name, sample=sample)
    n = 0
    while memory.stats()["evictions"] < 100:
        n += 1
        ask(memory, b"before%d" % n, n * TICK, 1500)
    return memory, n * TICK


@pytest.mark.parametrize("name", QUEUES)
def test_what_has_expired_counts_half(name: str) -> None:
    """Used once while all are new: who is fresh stays, who has expired and can be validated goes, unless it was used
    twice."""
    memory, now = pressed(name)
    for key, uses, fresh in (
        (b"fresh", 1, FAR),
        (b"expired", 1, now + 100),
        (b"expired twice", 2, now + 100),
    ):
        assert memory.publish(key, draft(now, fresh, stale=FAR), bytes(1500)) is not None
        for _ in range(uses):
            assert ask(memory, key, now, 1500)
    now += 1000
    for n in range(700):
        ask(memory, b"after%d" % n, now, 1500)
        if name == "sieve" and memory.lookup(b"expired") is None:
            break
    kept = set(memory.keys())
    assert b"expired" not in kept
    assert {b"fresh", b"expired twice"} <= kept


@pytest.mark.parametrize("name", POLICIES)
def test_what_is_useful_to_nobody_goes_before_its_turn(name: str) -> None:
    """Half of what is stored expires for good. It makes room first, although it came last and was used."""
    memory = Memory(1 << 20, bytes(16), policy=name)
    now = TICK
    for n in range(1000):
        if memory.stats()["evictions"]:
            break
        key = b"%06d" % n
        ask(memory, key, now, 1500, **({"fresh": 5000} if n % 2 else {}))
        ask(memory, key, now, 1500)
    stored = memory.keys()
    useless = [key for key in stored if int(key) % 2]
    kept = [key for key in stored if not int(key) % 2]
    before = memory.stats()["evictions"]
    now = 10_000
    for n in range(len(useless) * 4 // 5):
        assert memory.publish(b"new%03d" % n, draft(now), bytes(1500)) is not None
    left = set(memory.keys())
    assert memory.stats()["evictions"] - before <= n + 2, "all are as long, so one goes for each that comes"
    assert memory.stats()["expired_evictions"] > 0.5 * len(useless)
    # queues look at four only; who is useful and unused, as all are once sieve's hand has passed them, goes then
    assert len(left & set(kept)) > (0.8 if name == "sieve" else 0.9) * len(kept)


@pytest.mark.parametrize("name", POLICIES)
def test_what_is_held_stays_and_when_all_is_held_nothing_is_stored(name: str) -> None:
    memory = Memory(1 << 20, bytes(16), policy=name)
    held = []
    for n in range(1000):
        entry = memory.publish(b"%d" % n, draft(n * TICK), bytes(4000))
        if entry is None:
            break
        held.append(entry)
    assert 100 < len(held) < 300
    assert memory.stats()["evictions"] == 0
    memory.audit()
    for entry in held[::2]:
        entry.release()
    for n in range(2000, 2400):
        assert memory.publish(b"%d" % n, draft(n * TICK), bytes(4000)) is not None
    assert {entry.key for entry in held[1::2]} <= set(memory.keys())
    memory.audit()


@pytest.mark.parametrize("name", POLICIES)
def test_a_small_index_with_many_leaving_early(name: str) -> None:
    """Rings fill up with holes, records change their slots: the order is kept, everything adds up."""
    rng = random.Random(9)
    memory = Memory(1 << 20, bytes(16), objects=60, policy=name)
    for n in range(6000):
        key = b"%d" % rng.randrange(90)
        dice = rng.random()
        if dice < 0.45:
            assert memory.publish(key, draft(n * TICK), bytes(rng.randrange(12_000))) is not None
        elif dice < 0.8:
            memory.remove(key)
        else:
            entry = memory.lookup(key)
            if entry is not None:
                entry.touch(n * TICK)
        if n % 20 == 0:
            memory.audit()
    memory.purge_all()
    memory.audit()
    assert memory.stats()["objects"] == 0


@pytest.mark.parametrize("name", POLICIES)
def test_the_size_is_kept_and_the_policy_pays_for_itself(name: str) -> None:
    """What rings and ghosts take is part of the size, and of the 200 bytes an object of 1 KiB may cost."""
    memory = Memory(16 << 20, bytes(16), policy=name)
    now = 0
    while memory.stats()["evictions"] == 0:
        now += TICK
        memory.publish(b"%06d" % now, draft(now), bytes(1024))
    s = memory.stats()
    assert s["used"] <= s["size"] == 16 << 20
    assert s["size"] / s["objects"] - (1024 + 6 + len(HEAD)) < 200


def test_an_unknown_policy_is_refused() -> None:
    assert Memory(1 << 20, bytes(16), policy="sieve").policy == "sieve"
    with pytest.raises(ValueError, match="no eviction policy is called 'lfu'; there are lru, sieve, s3fifo"):
        Memory(1 << 20, bytes(16), policy="lfu")
    with pytest.raises(ValueError, match="at most 800000000 objects"):
        Memory(1 << 40, bytes(16), objects=1 << 30)
