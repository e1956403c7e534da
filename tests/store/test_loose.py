"""A body that is read without being held: found again where it is the same, and only there."""

from __future__ import annotations

import dataclasses

import pytest

from cdn.store import Draft, Entry, Loose, Memory
from tests.store.bodies import body, draft

NOW = 5000
LENGTHS = [0, 1, 5000, 20_000, 300_000]


@pytest.fixture
def memory() -> Memory:
    store = Memory(8 << 20, bytes(16), workers=1)
    store.attach(0)
    return store


def tagged(tag: bytes, version: int = 1, *, at: int = 1000, status: int = 200) -> Draft:
    head = b"HTTP/1.1 200 OK\r\nX-Version: %d\r\nETag: " % version + tag + b"\r\n"
    times = {"born": at, "response_time": at, "fresh_until": at, "swr_until": at, "sie_until": at}
    return Draft(status, head, 17, etag_offset=head.index(tag) if tag else 0, etag_len=len(tag), **times)


def stored(memory: Memory, made: Draft, content: bytes) -> Entry:
    entry = memory.publish(b"k", made, content)
    assert entry is not None
    return entry


def loose(entry: Entry) -> Loose:
    found = entry.loosen()
    assert found is not None
    entry.release()
    return found


@pytest.mark.parametrize("length", LENGTHS)
def test_it_is_read_and_not_held(memory: Memory, length: int) -> None:
    content = body(b"k", 1, length)
    reader = loose(stored(memory, draft(b"k", 1), content))
    assert memory.stats()["pinned"] == 0
    assert b"".join(reader.read(at, 7000, NOW) or b"" for at in range(0, length, 7000)) == content
    assert reader.read(length, 10, NOW) == b""
    assert memory.stats()["pinned"] == 0
    memory.audit()


def test_gone_is_said(memory: Memory) -> None:
    reader = loose(stored(memory, draft(b"k", 1), b"x" * 9000))
    memory.remove(b"k")
    assert reader.read(0, 10, NOW) is None


def test_another_response_is_not_taken_for_it(memory: Memory) -> None:
    reader = loose(stored(memory, tagged(b"", at=1000), b"x" * 9000))
    stored(memory, tagged(b"", at=1001), b"y" * 9000).release()
    assert reader.read(0, 10, NOW) is None


def test_another_length_is_not_taken_for_it(memory: Memory) -> None:
    reader = loose(stored(memory, tagged(b'"a"'), b"x" * 9000))
    stored(memory, tagged(b'"a"'), b"x" * 9001).release()
    assert reader.read(0, 10, NOW) is None


def test_another_status_is_not_taken_for_it(memory: Memory) -> None:
    reader = loose(stored(memory, tagged(b'"a"'), b"x" * 9000))
    stored(memory, tagged(b'"a"', status=404), b"y" * 9000).release()
    assert reader.read(0, 10, NOW) is None


@pytest.mark.parametrize("tag", [b'W/"a"', b""], ids=["weak", "none"])
def test_only_a_strong_tag_proves_it(memory: Memory, tag: bytes) -> None:
    reader = loose(stored(memory, tagged(tag), b"x" * 9000))
    stored(memory, tagged(tag, 2, at=2000), b"y" * 9000).release()
    assert reader.read(0, 10, NOW) is None


def test_another_strong_tag_is_another_body(memory: Memory) -> None:
    reader = loose(stored(memory, tagged(b'"a"'), b"x" * 9000))
    stored(memory, tagged(b'"b"', 2, at=2000), b"y" * 9000).release()
    assert reader.read(0, 10, NOW) is None


@pytest.mark.parametrize("length", LENGTHS)
def test_a_renewed_one_with_a_strong_tag_is_the_same(memory: Memory, length: int) -> None:
    content = body(b"k", 1, length)
    entry = stored(memory, tagged(b'"a"'), content)
    found = entry.loosen()
    assert found is not None
    longer = tagged(b'"a"', 12345, at=2000)  # a head of another length, too
    assert memory.republish(entry, longer) is not None
    entry.release()
    assert b"".join(found.read(at, 7000, NOW) or b"" for at in range(0, length, 7000)) == content


def test_a_soft_purge_and_a_new_epoch_change_nothing(memory: Memory) -> None:
    entry = stored(memory, draft(b"k", 1), b"x" * 9000)
    found = entry.loosen()
    assert found is not None
    memory.soft_purge(b"k", 5)
    assert found.read(0, 3, NOW) == b"xxx"
    assert (
        memory.republish(entry, dataclasses.replace(entry.draft(), stamp=memory.next_stamp() + 1)) is not None
    )
    entry.release()
    assert found.read(0, 3, NOW) == b"xxx"


def test_who_would_not_find_it_keeps_its_pin(memory: Memory) -> None:
    entry = stored(memory, draft(b"k", 1), b"x" * 9000)
    memory.remove(b"k")
    assert entry.loosen() is None
    assert entry.read(0, 3) == b"xxx"
    stored(memory, draft(b"k", 2, 2000), b"y" * 9000).release()
    assert entry.loosen() is None
    assert entry.read(0, 3) == b"xxx"


def test_they_come_from_the_store_only() -> None:
    with pytest.raises(TypeError, match="come from the store"):
        Loose()


@pytest.mark.parametrize("length", LENGTHS[1:])
def test_a_fill_leaves_its_readers_to_themselves(memory: Memory, length: int) -> None:
    """What they have taken stays pinned until the last of them lets go."""
    content = body(b"k", 1, length)
    fill, _ = memory.begin_fill(b"k")
    assert fill.start(draft(b"k", 1), length)
    fill.release()
    assert not fill.released  # there is nothing to let go of yet
    assert fill.write(content)
    assert fill.commit() is not None
    first, second = fill.entry, fill.entry
    assert first is not None
    assert second is not None
    fill.release()
    assert fill.released
    assert fill.entry is None
    assert fill.ended
    with pytest.raises(ValueError, match="holds its record no more"):
        fill.read(0, 1)
    found = first.loosen()
    first = None
    assert memory.stats()["pinned"] >= length
    assert second.read() == content
    second = None
    assert memory.stats()["pinned"] == 0
    assert found is not None
    assert found.read(0, length, NOW) == content
    memory.audit()


def test_to_read_it_is_a_use() -> None:
    """Of bodies that fill the store one is read without being held; the others go before it."""
    memory = Memory(4 << 20, bytes(16), policy="lru", sample=64)
    now = 1000
    reader = loose(stored(memory, draft(b"k", 1, now), b"x" * 100_000))
    for number in range(200):
        now += 1000
        key = b"other %d" % number
        entry = memory.publish(key, draft(key, 1, now), b"y" * 100_000)
        assert entry is not None
        entry.release()
        assert reader.read(0, 3, now) == b"xxx"
    assert memory.stats()["evictions"] > 100
