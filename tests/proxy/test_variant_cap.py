"""How many variants of a URL stay, whoever stored them."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from cdn.proxy.drafts import first_marker, vary_marker
from cdn.proxy.lookup import variant_key
from cdn.proxy.purge_log import PurgeLog
from cdn.proxy.variant_cap import LISTED, VARIANTS, VariantCap
from cdn.rules.stored import decode_vary_marker
from cdn.store import Entry, Memory
from tests.harness import Origin, Reply, Request, fresh, site
from tests.harness.proxy import is_hit
from tests.harness.siblings import Siblings
from tests.store.bodies import draft

URL = b"\x00url"


def variants_in(memory: Memory) -> list[bytes]:
    return [key for key in list(memory.keys()) if b"\x00vary" in key]


def varying(request: Request) -> Reply:
    return fresh(600, (request["x-a"] or "").encode(), vary="X-A")


@pytest.mark.parametrize("tagged", [False, True])
def test_the_variants_of_a_url_are_counted_for_all_workers(tagged: bool) -> None:
    """Each worker counted what it had filled itself: with two of them twice as many stayed. And it held all of them
    to ask about them, so that a small store's worker could store nothing more."""

    def rule(request: Request) -> Reply:
        value = request["x-a"] or ""
        return fresh(600, value.encode(), vary="X-A", **({"etag": f'"{value}"'} if tagged else {}))

    with Origin(rule) as origin, Siblings(site(origin)) as nodes:
        clients = [nodes.client(0), nodes.client(1)]
        for number in range(VARIANTS + 40):
            clients[number % 2].get("/a", {"X-A": str(number)})
        assert len(variants_in(nodes.memory)) == VARIANTS
        for number in range(40, VARIANTS + 40):
            assert is_hit(clients[0].get("/a", {"X-A": str(number)}))
        nodes.kill(0)
        for number in range(1000, 1010):
            clients[1].get("/a", {"X-A": str(number)})
        assert len(variants_in(nodes.memory)) == VARIANTS
        nodes.memory.audit()


def test_workers_that_store_variants_at_the_same_time() -> None:
    with Origin(varying) as origin, Siblings(site(origin)) as nodes:

        def ask(worker: int) -> None:
            client = nodes.client(worker)
            for number in range(150):
                assert client.get("/a", {"X-A": f"{worker}-{number}"}).body == f"{worker}-{number}".encode()

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (
            VARIANTS - 2 <= len(variants_in(nodes.memory)) <= VARIANTS + 2
        )  # those that two were about to store


class Others:
    """A store in which somebody else publishes between a look and what follows from it."""

    def __init__(self, memory: Memory, then: list[Any]) -> None:
        self._memory = memory
        self._then = then

    def __getattr__(self, name: str) -> Any:
        return getattr(self._memory, name)

    def exchange(self, *args: Any) -> Entry | None:
        if self._then:
            self._then.pop()()
        return self._memory.exchange(*args)

    def begin_marker(self, *args: Any) -> bool:
        if self._then:
            self._then.pop()()
        return self._memory.begin_marker(*args)


class Everything(PurgeLog):
    def __init__(self) -> None:
        pass

    def current(self, stamp: int, key: bytes) -> bool:
        return True


def cap(memory: Any) -> VariantCap:
    return VariantCap(memory, Everything())


def key(vary: tuple[str, ...], value: bytes) -> bytes:
    return variant_key(URL, vary, (value,))


def test_what_another_worker_lists_meanwhile_is_kept() -> None:
    memory = Memory(4 << 20, bytes(16))
    theirs, ours = key(("x-a",), b"1"), key(("x-b",), b"2")
    for one in (theirs, ours):
        memory.publish(one, draft(one, 1), b"")
    mine = cap(Others(memory, [lambda: cap(memory).filled(URL, theirs, ("x-a",), 1, 50)]))
    mine.filled(URL, ours, ("x-b",), 1, 10)
    marker = memory.lookup(URL)
    assert marker is not None
    assert decode_vary_marker(marker.meta) == (("x-b",), ("x-a",))
    assert marker.fresh_until == 50
    assert all(one.removeprefix(URL) in marker.read() for one in (theirs, ours))


@pytest.mark.parametrize("length", [1, 200, 3_000, LISTED, 20_000])
def test_the_list_is_bounded_in_bytes(length: int) -> None:
    memory = Memory(4 << 20, bytes(16))
    counted = cap(memory)
    for number in range(2 * VARIANTS):
        one = key(("x-a",), b"%d" % number + bytes(length))
        counted.filled(URL, one, ("x-a",), 1, 10)
        memory.publish(one, draft(one, 1), b"")
    marker = memory.lookup(URL)
    assert marker is not None
    left = variants_in(memory)
    assert key(("x-a",), b"%d" % (2 * VARIANTS - 1) + bytes(length)) in left
    assert marker.body_length <= max(LISTED, length + 100)
    assert len(left) == max(1, min(VARIANTS, LISTED // (length + 30))) or length == 200
    memory.audit()


def test_one_that_is_stored_again_is_not_the_first_to_go() -> None:
    memory = Memory(4 << 20, bytes(16))
    counted = cap(memory)
    for number in [*range(VARIANTS), 0, *range(100, 110)]:
        one = key(("x-a",), b"%d" % number)
        counted.filled(URL, one, ("x-a",), 1, 10)
        memory.publish(one, draft(one, 1), b"")
    assert memory.lookup(key(("x-a",), b"0")) is not None
    assert memory.lookup(key(("x-a",), b"1")) is None


@pytest.mark.parametrize("vary", [("accept-encoding",), ("a", "b" * 60, "c")])
def test_a_first_marker_is_what_any_other_would_be(vary: tuple[str, ...]) -> None:
    memory = Memory(8 << 20, bytes(16))
    assert memory.begin_marker(URL, first_marker(vary), b"names", 5_000, 9_000)
    shorter = memory.lookup(URL)
    memory.publish(b"other", vary_marker((vary,), 5_000, 9_000), b"names")
    longer = memory.lookup(b"other")
    assert shorter is not None
    assert longer is not None
    assert (shorter.draft(), shorter.read()) == (longer.draft(), longer.read())
    memory.audit()


def test_a_first_marker_takes_the_place_of_nothing() -> None:
    memory = Memory(8 << 20, bytes(16))
    memory.publish(URL, draft(URL, 1), b"there")
    assert not memory.begin_marker(URL, first_marker(("a",)), b"names", 5_000, 9_000)
    entry = memory.lookup(URL)
    assert entry is not None
    assert entry.read() == b"there"
    assert not memory.begin_marker(bytes(1 << 17), first_marker(("a",)), b"", 5_000, 9_000)
    memory.audit()
