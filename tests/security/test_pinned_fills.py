"""Slow readers of a body that came in while they asked for it: once it is stored, they are readers like any other. They
count as what they hold, do without it where room is wanted, and never get a byte of another version.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.harness import Origin, RawClient, Signal, eventually, fresh, reply, site
from tests.harness.client import HOST
from tests.harness.siblings import Siblings

SIZE = 6_000_000  # more than the kernel takes for a client that does not read
SHORT = 1_000_000  # what the fill lane stores by itself
STORE = {"memory": "48 MiB", "pinned": "10%", "eviction": "lru"}  # less than one body


def body_of(target: str, version: int = 1, size: int = SIZE) -> bytes:
    block = f"{target} {version} ".encode().ljust(50, b".")
    return block * (size // 50)


class App:
    """Every body as long as `size` says; that of /a arrives in two halves, `go` between them."""

    def __init__(self, size: int = SIZE, seconds: int = 600, tag: str = "") -> None:
        self.size, self.seconds, self.tag = size, seconds, tag
        self.version = 1
        self.go = Signal("the second half")
        self.begun = Signal("the first half")

    def body(self, target: str, version: int | None = None) -> bytes:
        return body_of(target, self.version if version is None else version, self.size)

    def __call__(self, request: Any) -> Any:
        if request.target == "/warm":
            return reply(200, {"Cache-Control": "no-store"}, b"warm")
        body = self.body(request.target)
        fields = {"ETag": self.tag} if self.tag else {}
        if self.tag and request["if-none-match"] == self.tag:
            return reply(304, {"Cache-Control": f"max-age={self.seconds}", **fields})
        if request.target != "/a" or self.go.is_set():
            return fresh(
                self.seconds, body, **{name.replace("-", "_"): value for name, value in fields.items()}
            )
        whole = fresh(self.seconds, body, **fields).encode()
        request.conn.send(whole[: -self.size // 2])
        self.begun.set()
        self.go.wait()
        request.conn.send(whole[-self.size // 2 :])
        return None


@contextmanager
def nodes_with(app: App, count: int = 2, **store: Any) -> Iterator[tuple[Origin, Siblings]]:
    with Origin(app) as origin:
        try:
            with Siblings(site(origin, store={**STORE, **store}), count) as nodes:
                yield origin, nodes
                eventually(lambda: nodes.memory.stats()["pinned"] == 0)
                nodes.memory.audit()
        finally:
            app.go.set()


def slow(nodes: Siblings, number: int, target: str = "/a", fields: str = "", status: int = 200) -> RawClient:
    """A client at worker `number` with the head of an answer that has begun."""
    client = nodes.client(number, timeout=20, receive_buffer=4096, segment=536)
    client.send(f"GET {target} HTTP/1.1\r\nHost: {HOST}\r\n{fields}\r\n".encode())
    assert client.wire.response_head().status == status
    return client


def key_of(nodes: Siblings, target: str = "/a") -> bytes:
    stored = nodes.memory.keys()
    return next((key for key in stored if target.encode() + b"\xff" in key), b"")


def filled(app: App, nodes: Siblings) -> None:
    app.go.set()
    eventually(lambda: bool(key_of(nodes)), "/a to be stored")


def together(app: App, nodes: Siblings, *numbers: int) -> list[RawClient]:
    """Slow clients of the same fill at these workers, the first is who asked first; it is stored by now."""
    readers = []
    for number in numbers:
        readers.append(slow(nodes, number))
        app.begun.wait()
    filled(app, nodes)
    return readers


def crowd(nodes: Siblings, number: int = 0, *, keep: bool, rounds: int = 10) -> None:
    """Others are stored until the store has been full for long; `keep`: /a is used meanwhile."""
    client = nodes.client(number, timeout=20)
    for turn in range(rounds):
        assert client.get(f"/{turn}").status == 200
        if keep:
            assert client.ask("HEAD", "/a").status == 200


def counted(nodes: Siblings, name: str) -> int:
    return sum(worker.stats()["connections"][name] for worker in nodes.workers if worker.pid)


def received(client: RawClient, size: int) -> bytes:
    """The body, or what of it came before the cut."""
    try:
        return client.wire.exactly(size)
    except AssertionError:
        return bytes(client.wire.buffer)


WHERE = {"who asked first": (0,), "beside it": (0, 0), "in another worker": (0, 1)}


@pytest.mark.parametrize("where", WHERE.values(), ids=WHERE)
def test_who_reads_what_stays_is_not_cut(where: tuple[int, ...]) -> None:
    app = App()
    with nodes_with(app) as (origin, nodes):
        readers = together(app, nodes, *where)
        crowd(nodes, keep=True)
        assert counted(nodes, "loosened") >= len(readers)
        assert nodes.memory.stats()["pinned"] == 0
        for client in readers:
            assert received(client, SIZE) == app.body("/a")
            assert client.get("/1").body == app.body("/1")  # the connection goes on
        assert counted(nodes, "cut_for_memory") == 0
        assert origin.count("/a") == 1


@pytest.mark.parametrize("where", WHERE.values(), ids=WHERE)
def test_who_reads_what_is_evicted_is_cut(where: tuple[int, ...]) -> None:
    app = App()
    with nodes_with(app) as (_, nodes):
        readers = together(app, nodes, *where)
        crowd(nodes, keep=False)
        assert not key_of(nodes)
        for client in readers:
            got = received(client, SIZE)
            assert len(got) < SIZE
            assert app.body("/a").startswith(got)
        assert counted(nodes, "cut_for_memory") == len(readers)


def test_a_follower_in_another_worker_counts() -> None:
    """It was not seen in what is pinned, and could fill the store."""
    app = App()
    with nodes_with(app, pinned="90%") as (_, nodes):
        leader, follower = together(app, nodes, 0, 1)
        eventually(lambda: nodes.memory.stats()["pinned"] >= 2 * SIZE)
        leader.reset()
        eventually(lambda: nodes.memory.stats()["pinned"] < 2 * SIZE)
        assert nodes.memory.stats()["pinned"] >= SIZE
        assert received(follower, SIZE) == app.body("/a")


def test_what_several_hold_counts_once() -> None:
    app = App()
    with nodes_with(app, pinned="25%") as (_, nodes):
        readers = together(app, nodes, 0, 0)
        crowd(nodes, keep=False)  # one body between them, which is less than is allowed
        assert counted(nodes, "loosened") == 0
        assert key_of(nodes)
        for client in readers:
            assert received(client, SIZE) == app.body("/a")


@pytest.mark.parametrize("number", [0, 1])
def test_the_worker_that_filled_is_killed(number: int) -> None:
    """Its own readers are gone with it; who followed goes on, and lets go when the other worker wants room."""
    app = App()
    with nodes_with(app) as (_, nodes):
        _, follower = together(app, nodes, number, 1 - number)
        nodes.kill(number)
        crowd(nodes, 1 - number, keep=True)
        assert counted(nodes, "loosened") >= 1
        assert received(follower, SIZE) == app.body("/a")
        assert counted(nodes, "cut_for_memory") == 0


def test_the_worker_that_filled_is_killed_at_the_end_of_its_fill() -> None:
    """The other worker need not have heard of the end yet."""
    app = App()
    with nodes_with(app) as (_, nodes):
        _, follower = together(app, nodes, 0, 1)
        nodes.kill(0)
        assert received(follower, SIZE) == app.body("/a")


@pytest.mark.parametrize("loose", [True, False], ids=["loose", "held"])
def test_another_version_is_never_read(loose: bool) -> None:
    """Purged and filled again with as many other bytes: a reader that holds its version gets that, another is cut."""
    app = App()
    with nodes_with(app, pinned="10%" if loose else "90%") as (_, nodes):
        readers = together(app, nodes, 0, 0, 1)
        crowd(nodes, keep=True)
        assert (counted(nodes, "loosened") >= len(readers)) == loose
        app.version = 2
        assert nodes.memory.purge(key_of(nodes))
        assert nodes.client(1, timeout=20).get("/a").body == app.body("/a", 2)
        for client in readers:
            got = received(client, SIZE)
            assert app.body("/a", 1).startswith(got), "bytes of another version"
            assert (len(got) < SIZE) == loose
        assert counted(nodes, "cut_for_memory") == (len(readers) if loose else 0)


def test_a_purged_body_keeps_its_pin_while_others_can_give() -> None:
    """It could not be found again: only where that does not suffice its reader is cut."""
    app = App()
    with nodes_with(app, pinned="25%") as (_, nodes):
        (purged,) = together(app, nodes, 0)
        assert nodes.memory.purge(key_of(nodes))
        others = [slow(nodes, 0, target) for target in ("/b", "/c")]
        eventually(lambda: nodes.memory.stats()["pinned"] >= 3 * SIZE)
        crowd(nodes, keep=False)
        assert counted(nodes, "loosened") >= 1
        assert received(purged, SIZE) == app.body("/a")
        for target, client in zip(("/b", "/c"), others, strict=True):
            assert app.body(target).startswith(received(client, SIZE))


def test_a_purged_body_is_cut_where_nothing_else_helps() -> None:
    app = App()
    with nodes_with(app) as (_, nodes):
        (purged,) = together(app, nodes, 0)
        assert nodes.memory.purge(key_of(nodes))
        crowd(nodes, keep=False)
        eventually(lambda: nodes.memory.stats()["pinned"] == 0)
        got = received(purged, SIZE)
        assert len(got) < SIZE
        assert app.body("/a").startswith(got)
        assert counted(nodes, "cut_for_memory") == 1


@pytest.mark.parametrize("version", ["1.1", "1.0"], ids=["lane", "exchange"])
def test_a_hit_that_was_purged_keeps_its_pin_and_is_cut_last(version: str) -> None:
    """A client of the hit lane has no exchange: cutting it did nothing."""
    app = App()
    app.go.set()
    with nodes_with(app) as (_, nodes):
        nodes.client(0, timeout=20).get("/a")
        client = nodes.client(0, timeout=20, receive_buffer=4096)
        client.send(f"GET /a HTTP/{version}\r\nHost: {HOST}\r\n\r\n".encode())
        assert client.wire.response_head().status == 200
        assert nodes.memory.purge(key_of(nodes))
        crowd(nodes, keep=False)
        eventually(lambda: nodes.memory.stats()["pinned"] == 0)
        assert app.body("/a").startswith(received(client, SIZE))
        assert counted(nodes, "cut_for_memory") == 1


@pytest.mark.parametrize(("tag", "goes_on"), [('"a"', True), ('W/"a"', False)], ids=["strong", "weak"])
@pytest.mark.parametrize("stored", [True, False], ids=["hit", "fill"])
def test_revalidated_meanwhile(tag: str, goes_on: bool, stored: bool) -> None:
    """A strong entity-tag says that the renewed response has the same bytes."""
    app = App(seconds=2, tag=tag)
    with nodes_with(app) as (origin, nodes):
        if stored:
            filled_by = nodes.client(0, timeout=20)
            app.go.set()
            filled_by.get("/a")
            readers = [slow(nodes, 0), slow(nodes, 1)]
        else:
            readers = together(app, nodes, 0, 1)
        crowd(nodes, keep=True)
        assert counted(nodes, "loosened") >= len(readers)
        client = nodes.client(0, timeout=20)
        eventually(lambda: client.get("/a").status == 200 and _renewed(origin), "a revalidation")
        for reader in readers:
            got = received(reader, SIZE)
            assert app.body("/a").startswith(got)
            assert (len(got) == SIZE) == goes_on


def _renewed(origin: Origin) -> bool:
    return any(request["if-none-match"] for request in origin.requests if request.target == "/a")


def test_a_range_of_what_is_arriving() -> None:
    app = App()
    with nodes_with(app) as (_, nodes):
        leader = slow(nodes, 0)
        app.begun.wait()
        part = slow(nodes, 0, fields="Range: bytes=1000-5899999\r\n", status=206)
        filled(app, nodes)
        crowd(nodes, keep=True)
        assert counted(nodes, "loosened") >= 2
        assert received(part, 5_899_000) == app.body("/a")[1000:5_900_000]
        assert received(leader, SIZE) == app.body("/a")


@pytest.mark.parametrize("keep", [True, False], ids=["stays", "evicted"])
@pytest.mark.parametrize("where", [(0,), (0, 0), (0, 1)], ids=["alone", "beside others", "and other workers"])
def test_clients_of_the_fill_lane(where: tuple[int, ...], keep: bool) -> None:
    """They were not seen at all: a client that hardly reads held its body for as long as it liked."""
    app = App(SHORT)
    with nodes_with(app, pinned="1%") as (_, nodes):
        nodes.client(0).ask("POST", "/warm")  # leaves a kept connection behind
        readers = together(app, nodes, *where)
        assert nodes.workers[0].stats()["lanes"]["fill"] == 0  # it has the turn yet
        crowd(nodes, keep=keep, rounds=60)
        assert counted(nodes, "loosened") >= len(readers)
        assert nodes.memory.stats()["pinned"] == 0
        for client in readers:
            got = received(client, SHORT)
            assert app.body("/a").startswith(got)
            assert (len(got) == SHORT) == keep
        assert counted(nodes, "cut_for_memory") == (0 if keep else len(readers))
        eventually(lambda: nodes.workers[0].stats()["outcomes"]["miss"] >= 1)


def test_a_client_of_the_fill_lane_whose_body_was_purged_is_cut_last() -> None:
    app = App(SHORT)
    with nodes_with(app, pinned="1%") as (_, nodes):
        nodes.client(0).ask("POST", "/warm")
        (purged,) = together(app, nodes, 0)
        assert nodes.memory.purge(key_of(nodes))
        crowd(nodes, keep=False, rounds=60)
        eventually(lambda: nodes.memory.stats()["pinned"] == 0)
        assert app.body("/a").startswith(received(purged, SHORT))
        assert counted(nodes, "cut_for_memory") == 1
