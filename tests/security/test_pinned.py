"""Slow readers cannot fill the store: where room is wanted they hold no more of it than `store.pinned`. Beyond it the
slowest lose their pins and are cut once what they read is evicted; everybody else is served and stored, and nobody
gets a wrong byte.
"""

from __future__ import annotations

import pytest

from tests.harness import Origin, RawClient, Reply, Request, eventually, fresh, site
from tests.harness.client import HOST
from tests.harness.process import Serve
from tests.harness.siblings import Siblings
from tests.harness.tls import certificate

SIZE = 6_000_000  # more than the kernel takes for a client that does not read
MEMORY = {"memory": "48 MiB"}


def body_of(target: str) -> bytes:
    block = f"{target} ".encode().ljust(50, b".")
    return block * (SIZE // 50)


def rule(request: Request) -> Reply:
    return fresh(600, body_of(request.target))


def slow(nodes: Siblings, number: int, target: str, version: str = "1.1", tls: bool = False) -> RawClient:
    """A client with the head, and an unsent tail at worker `number`. HTTP/1.0 is the exchange's, not the hit lane's."""
    client = nodes.client(number, timeout=20, receive_buffer=4096, tls=tls)
    client.send(f"GET {target} HTTP/{version}\r\nHost: {HOST}\r\n\r\n".encode())
    assert client.wire.response_head().status == 200
    return client


def received(client: RawClient) -> bytes:
    """The body, or what of it came before the cut."""
    try:
        return client.wire.exactly(SIZE)
    except AssertionError:
        return bytes(client.wire.buffer)


@pytest.mark.parametrize(
    ("version", "tls"), [("1.1", False), ("1.1", True), ("1.0", False)], ids=["lane", "tls", "exchange"]
)
def test_slow_readers_do_not_fill_the_store(version: str, tls: bool) -> None:
    with Origin(rule) as origin:
        tree = site(origin, store=MEMORY)
        if tls:
            chain, key = certificate("site.test")
            tree["listen"] = [{"url": "https://127.0.0.1:0", "certificate": str(chain), "key": str(key)}]
        with Siblings(tree) as nodes:
            most = nodes.memory.stats()["pinned_most"]
            assert SIZE < most < 3 * SIZE
            readers = []
            for number in range(16):  # twice the store
                target = f"/{number}"
                assert nodes.client(0, tls=tls).get(target).body == body_of(target)
                if number > 8:  # it is full, and room was wanted
                    eventually(lambda: nodes.memory.stats()["pinned"] <= most)
                readers.append((target, slow(nodes, number % 2, target, version, tls)))
            # what comes now is stored
            for target in ("/a", "/b", "/c"):
                first = nodes.client(0, tls=tls).get(target)
                again = nodes.client(1, tls=tls).get(target)
                assert first.body == again.body == body_of(target)
                assert origin.count(target=target) == 1
            whole = 0
            for target, client in readers:
                got = received(client)
                assert body_of(target).startswith(got), "a wrong byte"
                whole += len(got) == SIZE
            stats = [worker.stats() for worker in nodes.workers]
            assert sum(one["connections"]["cut_for_memory"] for one in stats) == len(readers) - whole
            assert 1 <= whole <= len(readers) - 6  # those whose body was not evicted
            assert all(one["store"]["used"] <= one["store"]["size"] for one in stats)
            eventually(lambda: nodes.memory.stats()["pinned"] == 0)
            nodes.memory.audit()


def test_who_reads_what_stays_is_not_cut() -> None:
    """The pin is lost, the record is not."""
    store = {**MEMORY, "pinned": "10%", "eviction": "lru"}
    with Origin(rule) as origin, Siblings(site(origin, store=store)) as nodes:
        nodes.client(0).get("/0")
        readers = [slow(nodes, number % 2, "/0") for number in range(8)]
        for number in range(12):
            target = f"/{number}"
            nodes.client(0).get(target)
            readers += [slow(nodes, number % 2, "/0")]
        stats = [worker.stats()["connections"] for worker in nodes.workers]
        assert sum(one["loosened"] for one in stats) >= len(readers) - 2
        assert sum(one["cut_for_memory"] for one in stats) == 0
        for client in readers:
            assert received(client) == body_of("/0")
            assert client.get("/0").body == body_of("/0")  # the connection goes on


def test_what_killed_workers_kept_comes_back() -> None:
    with Origin(rule) as origin:
        tree = site(origin, store={"memory": "48 MiB", "pinned": "90%"})
        with Siblings(tree) as nodes:
            readers = []
            for number in range(4):
                target = f"/{number}"
                nodes.client(0).get(target)
                readers.append(slow(nodes, number % 2, target))
            assert nodes.memory.stats()["pinned"] >= 4 * SIZE
            for number in (0, 1):
                nodes.kill(number)
            assert nodes.memory.stats()["pinned"] == 0
            nodes.memory.audit()


def test_the_setting_is_checked() -> None:
    with Origin(rule) as origin, Serve(site(origin, store={"pinned": "95%"}), wait=False) as node:
        assert node.wait() == 2
        assert "`store.pinned` is `95%`; the most is `90%`" in node.stderr
