"""What is published is found as it was, by its whole key, until it is removed, replaced or purged."""

from __future__ import annotations

import dataclasses
import gc

import pytest

from cdn.store import Draft, Entry, Fill, Memory, RecordFlag
from tests.store.bodies import FAR, body, draft, head

SECRET = bytes(range(16))
# around every border of the layout: empty, one granule, one run, whole blocks, several pages
LENGTHS = [
    0,
    1,
    63,
    64,
    1000,
    15_000,
    16_000,
    16_384,
    17_000,
    32_768,
    40_000,
    65_535,
    65_536,
    65_537,
    200_000,
    3_000_000,
]


@pytest.fixture
def memory() -> Memory:
    return Memory(8 << 20, SECRET)


@pytest.mark.parametrize("length", LENGTHS)
def test_published_is_found(memory: Memory, length: int) -> None:
    one = draft(b"k", 1)
    content = body(b"k", 1, length)
    assert memory.publish(b"k", one, content) is not None
    entry = memory.lookup(b"k")
    assert entry is not None
    assert entry.key == b"k"
    assert entry.read() == content
    assert entry.body_length == length
    assert entry.head == one.head
    assert entry.meta == one.meta
    assert entry.etag == b'"1"'
    assert entry.draft() == dataclasses.replace(one, stamp=memory.stamp)
    assert entry.current
    memory.audit()


def test_an_exchange_is_for_what_was_seen(memory: Memory) -> None:
    """Who has read a record and writes another in its place does not write over what came meanwhile."""
    first = memory.exchange(b"k", None, draft(b"k", 1), b"one")
    assert first is not None
    assert memory.exchange(b"k", None, draft(b"k", 2), b"two") is None
    second = memory.exchange(b"k", first, draft(b"k", 2), b"two")
    assert second is not None
    assert memory.exchange(b"k", first, draft(b"k", 3), b"three") is None
    memory.remove(b"k")
    assert memory.exchange(b"k", second, draft(b"k", 3), b"three") is None
    assert memory.lookup(b"k") is None
    second.release()
    with pytest.raises(ValueError, match="released"):
        memory.exchange(b"k", second, draft(b"k", 3), b"three")
    del first
    assert memory.audit()["retired"] == 0


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("start", [0, 1, 16_383, 16_384, 50_000, 2_999_999])
def test_read_of_a_part(memory: Memory, length: int, start: int) -> None:
    content = body(b"k", 1, length)
    entry = memory.publish(b"k", draft(b"k", 1), content)
    assert entry is not None
    for n in (0, 1, 100, 16_384, 70_000):
        assert entry.read(start, n) == content[start : start + n]


def test_every_number_comes_back(memory: Memory) -> None:
    one = Draft(
        status=404,
        head=b"HTTP/1.1 404 Not Found\r\n",
        status_line_len=24,
        born=-5,
        fresh_until=1 << 60,
        swr_until=(1 << 46) + 1,
        sie_until=(1 << 47) - 1,
        response_time=77,
        flags=0xFFFF,
        stamp=(1 << 48) - 1,
        last_modified=-62135596800,
        lines_304=(1 << 64) - 1,
        meta=bytes(range(256)),
    )
    entry = memory.publish(b"\x00key", one)
    assert entry is not None
    assert entry.draft() == one
    assert entry.etag is None
    assert memory.now == 77


def test_what_is_too_far_away_for_a_record_comes_back_as_far_as_it_goes(memory: Memory) -> None:
    far = (1 << 63) - 1
    one = dataclasses.replace(
        draft(b"k", 1), fresh_until=far, swr_until=far, sie_until=-far, stamp=(1 << 64) - 1
    )
    entry = memory.publish(b"k", dataclasses.replace(one, last_modified=1 << 60, born=-(1 << 60)))
    assert entry is not None
    assert (entry.fresh_until, entry.swr_until, entry.sie_until) == (far, (1 << 47) - 1, -(1 << 47))
    assert (entry.last_modified, entry.born) == ((1 << 47) - 1, -(1 << 47))
    assert entry.stamp == 0, "decided again"
    assert memory.purge(b"k", soft=True, now=5) == 1
    assert (entry.fresh_until, entry.swr_until) == (5, (1 << 47) - 1)


@pytest.mark.parametrize(
    "change",
    [
        {"status_line_len": 1000},
        {"etag_offset": 60_000},
        {"etag_offset": 10, "etag_len": 60_000},
    ],
)
def test_a_contradictory_draft_is_refused(memory: Memory, change: dict[str, int]) -> None:
    used = memory.stats()["used"]
    with pytest.raises(ValueError, match="outside of its head"):
        memory.publish(b"k", dataclasses.replace(draft(b"k", 1), **change))
    fill, _ = memory.begin_fill(b"k")
    with pytest.raises(ValueError, match="outside of its head"):
        fill.start(dataclasses.replace(draft(b"k", 1), **change), 5)
    del fill
    assert memory.lookup(b"k") is None
    assert memory.stats()["used"] == used


def test_the_whole_key_counts(memory: Memory) -> None:
    keys = [b"", b"a", b"ab", b"abc", b"a\0", b"\0a", b"A"]
    for i, key in enumerate(keys):
        memory.publish(key, draft(key, i), body(key, i, 100 + i))
    for i, key in enumerate(keys):
        entry = memory.lookup(key)
        assert entry is not None
        assert entry.read() == body(key, i, 100 + i)
    assert memory.lookup(b"abcd") is None
    assert sorted(memory.keys()) == sorted(keys)
    assert len(memory.keys(3)) == 3


@pytest.mark.parametrize("bits", [0, 1, 2])
def test_keys_with_the_same_hash_stay_apart(bits: int) -> None:
    memory = Memory(1 << 20, SECRET, hash_bits=bits)
    keys = [b"aa", b"ab", b"a", b"a\0", b"aaa"]
    for version in range(3):
        for key in keys:
            memory.publish(key, draft(key, version), body(key, version, 200))
        for key in keys:
            entry = memory.lookup(key)
            assert entry is not None
            assert entry.read() == body(key, version, 200)
        assert memory.lookup(b"b") is None
    assert memory.stats()["objects"] == len(keys)
    assert memory.remove(b"ab")
    assert sorted(memory.keys()) == sorted(set(keys) - {b"ab"})
    memory.purge_all()
    for i in range(300):
        memory.publish(b"%d" % i, draft(b"%d" % i, i), body(b"%d" % i, i, 99))
    stored = memory.keys()
    assert 0 < len(stored) < 300
    for key in stored:
        entry = memory.lookup(key)
        assert entry is not None
        assert entry.read() == body(key, int(key), 99)
    memory.audit()


def test_replacing_leaves_the_old_to_whoever_holds_it(memory: Memory) -> None:
    old = memory.publish(b"k", draft(b"k", 1), body(b"k", 1, 100_000))
    new = memory.publish(b"k", draft(b"k", 2), body(b"k", 2, 100_000))
    assert old is not None
    assert new is not None
    assert old.read() == body(b"k", 1, 100_000)
    assert not old.current
    found = memory.lookup(b"k")
    assert found is not None
    assert found.read() == body(b"k", 2, 100_000)
    assert memory.audit()["retired"] == 1
    old.release()
    assert memory.audit()["retired"] == 0


def test_released_and_made_entries_are_of_no_use(memory: Memory) -> None:
    entry = memory.publish(b"k", draft(b"k", 1), b"x")
    assert entry is not None
    entry.release()
    entry.release()
    assert entry.released
    for use in (
        entry.read,
        entry.draft,
        lambda: entry.status,
        lambda: memory.republish(entry, draft(b"k", 2)),
    ):
        with pytest.raises(ValueError, match="released"):
            use()
    for kind in (Entry, Fill):
        with pytest.raises(TypeError):
            kind()


@pytest.mark.parametrize("length", [0, 1000, 30_000, 100_000, 1_000_000])
@pytest.mark.parametrize("head_length", [0, 20_000])
def test_republish_keeps_the_body(memory: Memory, length: int, head_length: int) -> None:
    content = body(b"k", 1, length)
    first = memory.publish(b"k", draft(b"k", 1), content)
    assert first is not None
    for version in range(2, 6):
        again = memory.republish(first, draft(b"k", version, head_length=head_length))
        assert again is not None
        assert again.read() == content
        assert again.head == head(b"k", version, head_length)
        assert first.read() == content
        assert not first.current
        memory.audit()
        first = again
    assert memory.stats()["objects"] == 1


def test_republish_shares_a_large_body(memory: Memory) -> None:
    first = memory.publish(b"k", draft(b"k", 1), bytes(2_000_000))
    assert first is not None
    before = memory.stats()["used"]
    again = memory.republish(first, draft(b"k", 2))
    assert memory.stats()["used"] - before < 20_000
    del first
    assert again is not None
    assert again.read() == bytes(2_000_000)
    memory.remove(b"k")
    again.release()
    assert memory.stats()["used"] == memory.stats()["fixed"]


@pytest.mark.parametrize("leave", ["remove", "purge", "purge_all", "replace", "invalidate"])
def test_what_left_is_not_republished(memory: Memory, leave: str) -> None:
    entry = memory.publish(b"k", draft(b"k", 1), b"old")
    assert entry is not None
    if leave == "replace":
        memory.publish(b"k", draft(b"k", 2), b"new")
    elif leave == "purge_all":
        assert memory.purge_all() == 1
    else:
        assert getattr(memory, leave)(b"k")
    assert memory.republish(entry, draft(b"k", 3)) is None
    found = memory.lookup(b"k")
    assert (found and found.read()) == (b"new" if leave == "replace" else None)


def test_remove(memory: Memory) -> None:
    memory.publish(b"k", draft(b"k", 1), b"x")
    assert memory.remove(b"k")
    assert not memory.remove(b"k")
    assert memory.lookup(b"k") is None
    assert memory.stats()["used"] == memory.stats()["fixed"]


def test_purge_reaches_variants_and_nothing_else(memory: Memory) -> None:
    for key in (b"a", b"a+en", b"a+de", b"b", b"b+a"):
        memory.publish(key, draft(key, 1), b"x")
    assert memory.purge(b"a") == 3
    assert sorted(memory.keys()) == [b"b", b"b+a"]
    assert memory.purge(b"a") == 0


def test_a_soft_purge_only_ends_freshness(memory: Memory) -> None:
    held = memory.publish(b"k", draft(b"k", 1, 1000), b"x")
    assert held is not None
    assert memory.soft_purge(b"k", 5000)
    assert held.current
    assert held.fresh_until == 5000
    assert held.swr_until == FAR
    assert not memory.soft_purge(b"other")
    memory.publish(b"k+v", draft(b"k+v", 1, 1000, fresh=4000), b"x")
    assert memory.purge(b"k", soft=True, now=4500) == 2
    assert held.fresh_until == 4500
    late = memory.lookup(b"k+v")
    assert late is not None
    assert late.fresh_until == 4000, "a purge must not make anything fresh for longer"
    assert memory.purge_all(soft=True, now=1) == 2
    assert late.fresh_until == 1


def test_stamps(memory: Memory) -> None:
    assert memory.publish(b"k", draft(b"k", 1)).stamp == memory.stamp  # type: ignore[union-attr]
    before = memory.stamp
    assert memory.next_stamp() == before + 1 == memory.stamp
    entry = memory.lookup(b"k")
    assert entry is not None
    assert entry.stamp == before
    again = memory.republish(entry, draft(b"k", 1))
    assert again is not None
    assert again.stamp == memory.stamp


def test_now_never_goes_back(memory: Memory) -> None:
    memory.now = 500
    memory.now = 400
    assert memory.now == 500
    entry = memory.publish(b"k", draft(b"k", 1, 900))
    assert entry is not None
    entry.touch(700)
    assert memory.now == 900


def test_a_body_or_head_that_fits_nowhere(memory: Memory) -> None:
    memory.publish(b"k", draft(b"k", 1), b"x")
    assert memory.publish(b"big", draft(b"big", 1), bytes(memory.largest + 1)) is None
    assert memory.publish(b"head", draft(b"head", 1, head_length=70_000)) is None
    assert memory.publish(bytes(70_000), draft(b"k", 1)) is None
    assert memory.stats()["evictions"] == 0
    whole = memory.publish(b"whole", draft(b"whole", 1), bytes(memory.largest))
    assert whole is not None
    assert memory.stats()["used"] <= memory.stats()["size"]


def test_pinned_bodies_are_never_reused(memory: Memory) -> None:
    held = [
        memory.publish(b"h%d" % i, draft(b"h%d" % i, 1), body(b"h%d" % i, 1, 60_000 + i)) for i in range(60)
    ]
    for i in range(2000):
        memory.publish(b"n%d" % i, draft(b"n%d" % i, 1), body(b"n%d" % i, 1, 20_000))
    for i, entry in enumerate(held):
        assert entry is not None
        assert entry.read() == body(b"h%d" % i, 1, 60_000 + i)
    memory.audit()


def test_when_all_is_pinned_nothing_is_stored_and_nothing_breaks(memory: Memory) -> None:
    held = []
    i = 0
    while (entry := memory.publish(b"%d" % i, draft(b"%d" % i, 1), body(b"%d" % i, 1, 50_000))) is not None:
        held.append(entry)
        i += 1
    assert len(held) > 100
    assert all(entry.read() == body(b"%d" % j, 1, 50_000) for j, entry in enumerate(held))
    assert memory.stats()["evictions"] == 0
    held.pop().release()
    assert memory.publish(b"again", draft(b"again", 1), bytes(50_000)) is not None


def test_entries_keep_the_mapping(memory: Memory) -> None:
    entry = memory.publish(b"k", draft(b"k", 1), b"still here")
    del memory
    gc.collect()
    assert entry is not None
    assert entry.read() == b"still here"


class Behind:
    """A tier that writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, bytes, bytes]] = []

    def stored(self, entry: Entry) -> None:
        self.told.append(("stored", entry.key, entry.read()))

    def gone(self, key: bytes) -> None:
        self.told.append(("gone", key, b""))


def test_the_tier_behind_is_told_what_is_stored_and_removed_but_not_what_is_evicted() -> None:
    memory = Memory(1 << 20, bytes(16))
    memory.tier = behind = Behind()
    fill, _ = memory.begin_fill(b"filled")
    assert fill.start(draft(b"filled", 1), 4)
    fill.write(b"body")
    assert not behind.told
    assert fill.commit() is not None
    entry = memory.publish(b"published", draft(b"published", 1), b"x")
    assert entry is not None
    memory.republish(entry, draft(b"published", 2))
    memory.publish(b"brought back", draft(b"brought back", 1), b"y", tell=False)
    memory.soft_purge(b"filled", 5)
    memory.remove(b"published")
    memory.remove(b"never there")
    memory.invalidate(b"filled")
    memory.remove(b"brought back", tell=False)
    assert behind.told == [
        ("stored", b"filled", b"body"),
        ("stored", b"published", b"x"),
        ("stored", b"published", b"x"),
        ("stored", b"filled", b"body"),
        ("gone", b"published", b""),
        ("gone", b"never there", b""),
        ("gone", b"filled", b""),
    ]
    behind.told.clear()
    for i in range(100):
        assert memory.publish(b"%d" % i, draft(b"%d" % i, 1), bytes(60_000)) is not None
    assert memory.stats()["evictions"] > 50
    assert {what for what, _, _ in behind.told} == {"stored"}
    memory.publish(b"u", dataclasses.replace(draft(b"u", 1), flags=int(RecordFlag.UNCACHEABLE)))
    assert behind.told[-1][1] != b"u"


def test_a_body_is_shared_by_so_many_and_then_laid_anew() -> None:
    """A block counts in one byte who uses the body that begins there."""
    memory = Memory(32 << 20, SECRET)
    content = body(b"k", 1, 40_000)
    entry = memory.publish(b"k", draft(b"k", 1), content)
    held = [entry]
    for _ in range(300):
        assert entry is not None
        entry = memory.republish(entry, draft(b"k", 1))
        held.append(entry)
    memory.audit()
    used = memory.stats()["used"] - memory.stats()["fixed"]
    assert 2 * 32768 + 301 * 7000 <= used < 3 * 40_000 + 301 * 7500
    for one in held:
        assert one is not None
        assert one.read() == content
    del held[::2]
    memory.audit()
    memory.purge_all()
    held.clear()
    del entry, one
    assert set(memory.audit().values()) == {0}
