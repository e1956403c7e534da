"""The store against a plain dict, step by step: never a wrong byte, never beyond the size, no leak.

The model says what was last published under each key. The store may have evicted it, and then knows nothing;
what it does give must be exactly that. Bodies name key and version. After every step the whole mapping is
audited.
"""

from __future__ import annotations

import gc
import random
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cdn.store import DONE, POLICIES, STREAMING, WAITING, Entry, Fill, Memory
from tests.store.bodies import FAR, body, draft, head

KEYS = [b"k%d" % i for i in range(8)] + [b"k0+variant", b"k1+variant", b"", b"long" * 200]
lengths = st.one_of(
    st.integers(0, 300),
    st.integers(0, 20_000),
    st.integers(16_000, 70_000),
    st.integers(100_000, 900_000),
    st.integers(1_000_000, 5_000_000),
)
head_lengths = st.sampled_from([0, 0, 0, 500, 30_000])
which = st.integers(0, 1 << 30)


@dataclass
class Filling:
    fill: Fill
    key: bytes
    version: int
    content: bytes
    known: bool
    sent: int = 0
    joinable: bool = True
    purged: bool = False
    released: int = 0


@dataclass
class Model:
    """`stored`: key → (version, content, head length, held fresh until)."""

    stored: dict[bytes, tuple[int, bytes, int, int]] = field(default_factory=dict)
    held: list[tuple[Entry, bytes, int, bytes]] = field(default_factory=list)
    fills: list[Filling] = field(default_factory=list)


class StoreMachine(RuleBasedStateMachine):
    memory: Memory

    @initialize(
        size=st.sampled_from([1 << 20, 1_700_000, 4 << 20, 16 << 20]),
        objects=st.sampled_from([10, 1000]),
        first=st.sampled_from([5, 1000]),
        policy=st.sampled_from(POLICIES),
    )
    def open(self, size: int, objects: int, first: int, policy: str) -> None:
        self.memory = Memory(size, b"0123456789abcdef", objects=objects, first=first, policy=policy)
        self.model = Model()
        self.version = 0
        self.now = 1000

    def tick(self) -> int:
        self.version += 1
        self.now += 40
        return self.version

    def hold(self, entry: Entry | None, key: bytes, version: int, content: bytes) -> None:
        if entry is not None and len(self.model.held) < 6:
            self.model.held.append((entry, key, version, content))

    # -- publishing -----------------------------------------------------------------------------------------

    @rule(key=st.sampled_from(KEYS), length=lengths, head_length=head_lengths, keep=st.booleans())
    def publish(self, key: bytes, length: int, head_length: int, keep: bool) -> None:
        version = self.tick()
        content = body(key, version, length)
        entry = self.memory.publish(key, draft(key, version, self.now, head_length=head_length), content)
        if entry is None:
            assert length > self.memory.largest or self.crowded(), "room could have been made"
            return
        assert entry.current
        assert entry.read() == content
        self.model.stored[key] = (version, content, head_length, FAR)
        if keep:
            self.hold(entry, key, version, content)

    @rule(count=st.integers(20, 200), length=st.integers(0, 9000))
    def crowd(self, count: int, length: int) -> None:
        """Many others, so that there is pressure."""
        for i in range(count):
            version = self.tick()
            key = b"crowd%d" % (version % 500)
            content = body(key, version, (length * (i + 1)) % 9001)
            if self.memory.publish(key, draft(key, version, self.now), content) is not None:
                self.model.stored[key] = (version, content, 0, FAR)

    @precondition(lambda self: self.model.held)
    @rule(pick=which, head_length=head_lengths)
    def republish(self, pick: int, head_length: int) -> None:
        entry, key, _, content = self.model.held[pick % len(self.model.held)]
        version = self.tick()
        current = entry.current
        again = self.memory.republish(entry, draft(key, version, self.now, head_length=head_length))
        if not current:
            assert again is None
        elif again is not None:
            assert again.read() == content
            assert not entry.current
            self.model.stored[key] = (version, content, head_length, FAR)
            self.hold(again, key, version, content)

    # -- fills ----------------------------------------------------------------------------------------------

    def registered(self, key: bytes) -> Filling | None:
        return next((f for f in self.model.fills if f.key == key and f.joinable), None)

    @precondition(lambda self: len(self.model.fills) < 5)
    @rule(key=st.sampled_from(KEYS), length=lengths, known=st.booleans())
    def begin(self, key: bytes, length: int, known: bool) -> None:
        fill, won = self.memory.begin_fill(key)
        other = self.registered(key)
        assert won == (other is None)
        if other is not None:
            assert other.fill is fill
            return
        version = self.tick()
        content = body(key, version, length)
        filling = Filling(fill, key, version, content, known)
        self.model.fills.append(filling)
        if not fill.start(draft(key, version, self.now), length if known else None):
            assert fill.state is WAITING
            assert fill.reason in ("too-large", "no-space")
            fill.detach(fill.reason)
            filling.joinable = False
            assert fill.start(draft(key, version, self.now), length if known else None)

    def pick_fill(self, pick: int) -> Filling:
        return self.model.fills[pick % len(self.model.fills)]

    @precondition(lambda self: self.model.fills)
    @rule(
        pick=which, seed=which, most=st.sampled_from([50, 5000, 100_000, 2_000_000]), times=st.integers(1, 20)
    )
    def write(self, pick: int, seed: int, most: int, times: int) -> None:
        filling = self.pick_fill(pick)
        fill = filling.fill
        rng = random.Random(seed)
        for _ in range(times):
            piece = filling.content[filling.sent : filling.sent + rng.randint(1, most)]
            before = fill.arrived
            if fill.write(piece):
                filling.sent += len(piece)
            else:
                assert fill.arrived == before
                if not fill.detached:
                    fill.detach(fill.reason or "no-space")
                filling.joinable = False
                fill.release_before(filling.sent)
                filling.released = filling.sent
            assert fill.arrived == filling.sent
            assert fill.state is STREAMING

    @precondition(lambda self: self.model.fills)
    @rule(pick=which, offset=st.integers(0, 5_000_000), n=st.integers(0, 200_000))
    def read_along(self, pick: int, offset: int, n: int) -> None:
        filling = self.pick_fill(pick)
        offset = max(offset % (filling.sent + 1), filling.released)
        assert filling.fill.read(offset, n) == filling.content[offset : min(offset + n, filling.sent)]

    @precondition(lambda self: self.model.fills)
    @rule(pick=which, head_length=head_lengths, keep=st.booleans())
    def commit(self, pick: int, head_length: int, keep: bool) -> None:
        filling = self.pick_fill(pick)
        fill, key, version = filling.fill, filling.key, filling.version
        while filling.sent < len(filling.content):
            piece = filling.content[filling.sent : filling.sent + 70_000]
            if not fill.write(piece):
                if not fill.detached:
                    fill.detach("no-space")
                filling.joinable = False
                fill.release_before(filling.sent)
                filling.released = filling.sent
                if not fill.write(piece):
                    fill.abort("no-space")
                    self.model.fills.remove(filling)
                    return
            filling.sent += len(piece)
        self.now += 40
        last = draft(key, version, self.now, head_length=head_length)
        entry = fill.commit(
            head=last.head, etag_offset=last.etag_offset, etag_len=last.etag_len, response_time=self.now
        )
        self.model.fills.remove(filling)
        assert fill.ended
        if entry is None:
            assert fill.state is DONE
            assert not filling.joinable or fill.reason == "no-space"
            assert fill.read(filling.released, 1 << 30) == filling.content[filling.released :]
            return
        assert filling.joinable
        assert entry.read() == filling.content
        assert entry.head == last.head
        self.model.stored[key] = (version, filling.content, head_length, FAR)
        if keep:
            self.hold(entry, key, version, filling.content)

    @precondition(lambda self: self.model.fills)
    @rule(pick=which, drop=st.booleans())
    def abort(self, pick: int, drop: bool) -> None:
        filling = self.pick_fill(pick)
        self.model.fills.remove(filling)
        if not drop:
            filling.fill.abort("truncated")

    # -- leaving --------------------------------------------------------------------------------------------

    @rule(key=st.sampled_from(KEYS))
    def remove(self, key: bytes) -> None:
        if self.memory.remove(key):
            assert key in self.model.stored
        self.model.stored.pop(key, None)

    def purged(self, keys: list[bytes], prefix: bytes) -> None:
        for key in keys:
            self.model.stored.pop(key, None)
        for filling in self.model.fills:
            if filling.key.startswith(prefix) and filling.joinable:
                filling.joinable = False
                filling.purged = True

    @rule(key=st.sampled_from([*KEYS, b"k", b"crowd", b"crowd1"]), soft=st.booleans())
    def purge(self, key: bytes, soft: bool) -> None:
        reached = [k for k in self.model.stored if k.startswith(key)]
        assert self.memory.purge(key, soft=soft, now=self.now) <= len(reached)
        if soft:
            for k in reached:
                version, content, head_length, fresh = self.model.stored[k]
                self.model.stored[k] = (version, content, head_length, min(fresh, self.now))
        self.purged([] if soft else reached, key)

    @rule()
    def new_epoch(self) -> None:
        before = self.memory.stamp
        assert self.memory.next_stamp() == before + 1

    # -- reading --------------------------------------------------------------------------------------------

    @rule(key=st.sampled_from(KEYS), keep=st.booleans(), touch=st.booleans())
    def lookup(self, key: bytes, keep: bool, touch: bool) -> None:
        entry = self.memory.lookup(key)
        if entry is None:
            return
        version, content, head_length, fresh = self.model.stored[key]
        assert entry.key == key
        assert entry.head == head(key, version, head_length)
        assert entry.fresh_until == fresh
        assert entry.read() == content
        if touch:
            self.now += 40
            entry.touch(self.now)
        if keep:
            self.hold(entry, key, version, content)

    @precondition(lambda self: self.model.held)
    @rule(pick=which, explicit=st.booleans())
    def let_go(self, pick: int, explicit: bool) -> None:
        entry, *_ = self.model.held.pop(pick % len(self.model.held))
        if explicit:
            entry.release()

    # -- always ---------------------------------------------------------------------------------------------

    def crowded(self) -> bool:
        """What is pinned or being filled may be in the way."""
        return bool(self.model.held or self.model.fills)

    @invariant()
    def all_is_well(self) -> None:
        if not hasattr(self, "memory"):
            return
        s = self.memory.stats()
        assert s["used"] <= s["size"]
        counts = self.memory.audit()
        assert counts["published"] == s["objects"]
        assert counts["pinned"] <= len(self.model.held)
        assert s["fills"] == sum(f.joinable for f in self.model.fills)
        assert set(self.memory.keys()) <= set(self.model.stored)
        for entry, key, version, content in self.model.held:
            assert entry.key == key
            assert entry.etag == b'"%d"' % version
            assert entry.read() == content

    def teardown(self) -> None:
        if not hasattr(self, "memory"):
            return
        self.model.held.clear()
        self.model.fills.clear()
        gc.collect()
        self.memory.purge_all()
        assert self.memory.stats()["used"] == self.memory.stats()["fixed"]
        assert set(self.memory.audit().values()) == {0}


TestStore = StoreMachine.TestCase
TestStore.settings = settings(
    max_examples=40,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)


@pytest.mark.full
@pytest.mark.timeout(1800)
class TestStoreLong(StoreMachine.TestCase):  # type: ignore[name-defined,misc]
    settings = settings(
        max_examples=600,
        stateful_step_count=60,
        deadline=None,
        suppress_health_check=[
            HealthCheck.too_slow,
            HealthCheck.data_too_large,
            HealthCheck.large_base_example,
        ],
    )


@pytest.mark.parametrize("seed", range(4))
def test_a_long_random_run(seed: int) -> None:
    """20,000 operations under pressure, pins and fills in between; every hit is checked byte for byte."""
    rng = random.Random(seed)
    size, objects = rng.choice([1 << 20, 3 << 20, 12 << 20]), rng.choice([50, 3000])
    memory = Memory(size, bytes(16), objects=objects, first=20, policy=POLICIES[seed % len(POLICIES)])
    latest: dict[bytes, tuple[int, int]] = {}
    held: list[tuple[Entry, bytes]] = []
    fills: list[tuple[Fill, bytes, int, int]] = []
    hits = 0
    for step in range(20_000):
        memory.now = step * 16
        key = b"%d" % min(int(rng.paretovariate(0.5)), 2000)
        entry = memory.lookup(key)
        if entry is not None:
            hits += 1
            version, length = latest[key]
            assert entry.read() == body(key, version, length)
            entry.touch(step * 16)
        choice = rng.random()
        length = int(rng.choice([500, 5000, 50_000, 400_000]) * rng.random() ** 2)
        if entry is not None and choice < 0.1:
            held.append((entry, body(key, *latest[key])))
        elif entry is not None and choice < 0.2:
            version = latest[key][0]
            memory.republish(entry, draft(key, version, step * 16, head_length=rng.choice([0, 0, 4000])))
        elif entry is None and choice < 0.3 and len(fills) < 8:
            fill, won = memory.begin_fill(key)
            if won and fill.start(draft(key, step, step * 16), rng.choice([None, length])):
                fills.append((fill, key, step, length))
        elif entry is None and memory.publish(key, draft(key, step, step * 16), body(key, step, length)):
            latest[key] = (step, length)
        if fills and choice > 0.6:
            fill, key, version, length = fills[rng.randrange(len(fills))]
            at = fill.arrived
            n = rng.randint(1, 40_000)
            if at < length and not fill.write(body(key, version, length)[at : at + n]):
                fill.abort("no-space")
            if fill.state is STREAMING and fill.arrived == length and fill.commit() is not None:
                latest[key] = (version, length)
            if fill.state is not STREAMING:
                fills = [f for f in fills if f[0] is not fill]
        if len(held) > 20:
            for kept, content in held:
                assert kept.read() == content
            del held[: rng.randint(1, 20)]
        if rng.random() < 0.002:
            memory.purge(b"%d" % rng.randint(1, 9))
        if step % 1000 == 0:
            memory.audit()
    assert hits > 1000
    del entry
    held.clear()
    fills.clear()
    fill = None  # type: ignore[assignment]
    kept = None  # type: ignore[assignment]
    gc.collect()
    memory.audit()
    memory.purge_all()
    assert memory.stats()["used"] == memory.stats()["fixed"]
