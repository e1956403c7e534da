"""One fill per key; it is readable while it arrives, and what is not committed never existed."""

from __future__ import annotations

import dataclasses
import gc
import random
import sys

import pytest

from cdn.store import ABORTED, COMMITTED, DONE, STREAMING, WAITING, Fill, Memory
from tests.store.bodies import body, draft

LENGTHS = [0, 1, 4000, 4096, 16_000, 16_384, 17_000, 65_536, 100_001, 1_500_000]


@pytest.fixture
def memory() -> Memory:
    return Memory(8 << 20, bytes(16))


def new(memory: Memory, key: bytes = b"k") -> Fill:
    fill, won = memory.begin_fill(key)
    assert won
    return fill


def pour(fill: Fill, content: bytes, rng: random.Random, most: int = 9000) -> None:
    at = 0
    while at < len(content):
        n = rng.randint(1, most)
        assert fill.write(content[at : at + n])
        at += n
        assert fill.arrived == min(at, len(content))


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("most", [700, 300_000])
def test_arrives_is_read_and_is_committed(memory: Memory, length: int, known: bool, most: int) -> None:
    rng = random.Random(length)
    content = body(b"k", 1, length)
    fill = new(memory)
    assert fill.state is WAITING
    assert fill.start(draft(b"k", 1), length if known else None)
    assert fill.state is STREAMING
    assert memory.lookup(b"k") is None
    seen = bytearray()

    def follow() -> None:
        while piece := fill.read(len(seen), 5000):
            seen.extend(piece)

    fill.subscribe(follow)
    pour(fill, content, rng, most)
    assert memory.lookup(b"k") is None
    memory.audit()
    entry = fill.commit()
    assert entry is not None
    assert fill.entry is entry
    assert fill.state is COMMITTED
    assert fill.ended
    assert not fill.joinable
    assert entry.read() == content == bytes(seen)
    assert fill.read(0, length + 1) == content
    found = memory.lookup(b"k")
    assert found is not None
    assert found.read() == content
    counts = memory.audit()
    assert counts["filling_runs"] == counts["filling_blocks"] == 0


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("head_length", [0, 300, 20_000, 60_000])
def test_the_head_may_change_at_the_end(memory: Memory, length: int, head_length: int) -> None:
    fill = new(memory)
    content = body(b"k", 1, length)
    assert fill.start(draft(b"k", 1), length)
    pour(fill, content, random.Random(1), 50_000)
    last = draft(b"k", 22, head_length=head_length)
    entry = fill.commit(**{f.name: getattr(last, f.name) for f in dataclasses.fields(last)})
    assert entry is not None
    assert entry.head == last.head
    assert entry.read() == content
    memory.audit()


def test_one_winner(memory: Memory) -> None:
    fill = new(memory)
    assert memory.begin_fill(b"k") == (fill, False)
    assert memory.begin_fill(b"other")[1]
    fill.start(draft(b"k", 1), 3)
    assert memory.begin_fill(b"k") == (fill, False)
    fill.write(b"abc")
    fill.commit()
    assert memory.begin_fill(b"k")[1]


@pytest.mark.parametrize("length", [10, 100_000])
def test_dropped_is_aborted(memory: Memory, length: int) -> None:
    states = []
    fill = new(memory)
    fill.start(draft(b"k", 1), length)
    fill.write(bytes(length))
    fill.subscribe(lambda: states.append("told"))
    del fill
    gc.collect()
    assert states == ["told"]
    assert memory.lookup(b"k") is None
    assert memory.stats()["aborts"] == 1
    assert memory.stats()["used"] == memory.stats()["fixed"]
    assert memory.begin_fill(b"k")[1]


def test_dropped_in_a_cycle(memory: Memory) -> None:
    fill = new(memory)
    fill.start(draft(b"k", 1), None)
    fill.write(bytes(50_000))
    holder = [fill]
    fill.subscribe(holder.copy)
    del fill, holder
    gc.collect()
    assert memory.stats()["fills"] == 0
    assert memory.stats()["used"] == memory.stats()["fixed"]


def test_aborted_never_existed(memory: Memory) -> None:
    old = memory.publish(b"k", draft(b"k", 1), b"old")
    fill = new(memory)
    fill.start(draft(b"k", 2), None)
    fill.write(bytes(200_000))
    fill.abort("truncated")
    fill.abort("again")
    assert fill.state is ABORTED
    assert fill.reason == "truncated"
    assert fill.read(0, 10) == b""
    assert old is not None
    assert old.current
    with pytest.raises(ValueError):
        fill.write(b"x")
    with pytest.raises(ValueError):
        fill.commit()


def test_misuse_is_refused(memory: Memory) -> None:
    fill = new(memory)
    with pytest.raises(ValueError):
        fill.write(b"x")
    with pytest.raises(ValueError):
        fill.commit()
    fill.start(draft(b"k", 1), 4)
    with pytest.raises(ValueError):
        fill.start(draft(b"k", 1), 4)
    with pytest.raises(ValueError, match="more bytes"):
        fill.write(b"12345")
    assert fill.arrived == 0
    fill.write(b"123")
    with pytest.raises(ValueError, match="shorter"):
        fill.commit()
    fill.write(b"4")
    assert fill.commit() is not None


@pytest.mark.parametrize("how", ["purge", "soft", "purge_all", "soft_purge", "invalidate", "void"])
def test_a_purge_voids_a_fill_but_not_its_readers(memory: Memory, how: str) -> None:
    key = b"k+variant" if how in ("purge", "soft", "purge_all") else b"k"
    content = body(key, 1, 100_000)
    fill = new(memory, key)
    fill.start(draft(key, 1), len(content))
    fill.write(content[:60_000])
    if how == "purge_all":
        memory.purge_all()
    elif how == "soft":
        memory.purge(b"k", soft=True)
    else:
        getattr(memory, how)(b"k")
    assert fill.purged
    assert not fill.joinable
    again, won = memory.begin_fill(key)
    assert won
    assert not again.purged
    fill.write(content[60_000:])
    assert fill.commit() is None
    assert fill.state is DONE
    assert fill.ended
    assert fill.reason == "purged"
    assert fill.read(0, 200_000) == content
    assert memory.lookup(key) is None
    del fill, again
    assert memory.stats()["used"] == memory.stats()["fixed"]


def test_a_purge_of_something_else_does_not(memory: Memory) -> None:
    fill = new(memory, b"ab")
    memory.purge(b"abc")
    memory.purge(b"b")
    memory.remove(b"ab")
    fill.start(draft(b"ab", 1), 0)
    assert fill.commit() is not None


def test_a_variant_is_as_old_as_its_request(memory: Memory) -> None:
    first = new(memory, b"k")
    began = memory.stamp
    memory.next_stamp()
    variant, won = memory.begin_fill(b"k+en", since=first)
    assert won
    assert variant.stamp == began
    memory.purge(b"k")
    late, won = memory.begin_fill(b"k+de", since=first)
    assert won
    assert late.purged
    assert not late.joinable
    late.start(draft(b"k+de", 1), 0)
    assert late.commit() is None
    assert memory.begin_fill(b"k+de")[1]


def test_a_response_is_as_old_as_its_request(memory: Memory) -> None:
    fill = new(memory)
    began = memory.stamp
    memory.next_stamp()
    fill.start(draft(b"k", 1), 0)
    entry = fill.commit()
    assert entry is not None
    assert entry.stamp == began == fill.stamp


def test_a_detached_body_streams_through_a_window(memory: Memory) -> None:
    fill = new(memory, b"huge")
    keep = memory.publish(b"keep", draft(b"keep", 1), b"kept")
    assert not fill.start(draft(b"huge", 1), 40 << 20)
    assert fill.reason == "too-large"
    assert fill.state is WAITING
    fill.detach("too-large")
    assert memory.begin_fill(b"huge")[1]
    assert fill.start(draft(b"huge", 1), 40 << 20)
    content = body(b"huge", 1, 40 << 20)
    position = 0
    most = 0
    for at in range(0, len(content), 50_000):
        assert fill.write(content[at : at + 50_000])
        if at % 150_000 == 0:
            behind = max(0, fill.arrived - position - 40_000)  # a reader that is never quite there
            piece = fill.read(position, behind)
            assert piece == content[position : position + behind]
            position += behind
            fill.release_before(position)
        most = max(most, int(memory.stats()["used"] - memory.stats()["fixed"]))
    assert most < 400_000
    with pytest.raises(ValueError, match="given back"):
        fill.read(0, 10)
    assert fill.read(position, 1 << 20) == content[position:]
    assert fill.commit() is None
    assert fill.state is DONE
    assert keep is not None
    assert keep.current
    del fill
    memory.audit()


def test_a_body_that_turns_out_too_large(memory: Memory) -> None:
    fill = new(memory)
    fill.start(draft(b"k", 1), None)
    piece = bytes(500_000)
    while fill.write(piece):
        pass
    assert fill.reason in ("too-large", "no-space")
    had = fill.arrived
    assert had > 5_000_000
    fill.detach("too-large")
    fill.release_before(had)
    assert fill.write(piece)
    assert fill.arrived == had + len(piece)
    assert fill.read(had, 10) == bytes(10)
    assert fill.commit() is None


def test_only_detached_fills_give_back(memory: Memory) -> None:
    fill = new(memory)
    fill.start(draft(b"k", 1), None)
    with pytest.raises(ValueError):
        fill.release_before(5)


def test_no_space_at_the_end_still_ends_well(memory: Memory) -> None:
    fill = new(memory)
    fill.start(draft(b"k", 1), None)
    content = body(b"k", 1, 33_000)
    fill.write(content)
    held = []
    while entry := memory.publish(b"%d" % len(held), draft(b"x", 1), bytes(300)):
        held.append(entry)
    while entry := memory.publish(b"%d" % len(held), draft(b"x", 1)):
        held.append(entry)
    assert fill.commit() is None
    assert fill.state is DONE
    assert fill.reason == "no-space"
    assert fill.read(0, 50_000) == content


def test_a_raising_callback_is_not_the_writers(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(sys, "unraisablehook", lambda info: seen.append(info.exc_type))
    told = []
    fill = new(memory)

    def bad() -> None:
        raise KeyError("mine")

    fill.subscribe(bad)
    fill.subscribe(lambda: told.append(1))
    assert fill.start(draft(b"k", 1), 3)
    assert fill.write(b"abc")
    assert fill.commit() is not None
    assert seen == [KeyError] * 3
    assert len(told) == 3
    fill.unsubscribe(bad)
    fill.unsubscribe(bad)


def test_callbacks_may_leave_and_come_while_being_called(memory: Memory) -> None:
    fill = new(memory)
    told = []

    def once() -> None:
        told.append(fill.state)
        fill.unsubscribe(once)
        fill.subscribe(lambda: told.append(fill.arrived))

    fill.subscribe(once)
    fill.start(draft(b"k", 1), 3)
    fill.write(b"abc")
    assert told == [STREAMING, 3]


def test_a_committed_fill_reads_what_was_replaced(memory: Memory) -> None:
    fill = new(memory)
    content = body(b"k", 1, 300_000)
    fill.start(draft(b"k", 1), None)
    fill.write(content)
    fill.commit()
    memory.publish(b"k", draft(b"k", 2), bytes(300_000))
    memory.purge_all()
    assert fill.read(0, 300_000) == content
    del fill
    assert memory.stats()["used"] == memory.stats()["fixed"]
