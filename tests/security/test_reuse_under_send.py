"""Stored bodies that are leaving to a slow reader while the store evicts, replaces or purges them: the reader
gets the bytes of the version whose head it has, or is cut, never a mixture.
"""

from __future__ import annotations

import hashlib

import pytest

from tests.harness import Origin, RawClient, Reply, Request, fresh, reply, site
from tests.harness.proxy import Proxy
from tests.harness.tls import certificate

SIZE = 1_500_000


def version(target: str, number: int) -> bytes:
    """A body that names itself in every block."""
    block = f"{target} {number} ".encode().ljust(64, b".")
    return (block * (SIZE // 64 + 1))[:SIZE]


def slow_readers(proxy: Proxy, count: int, target: str = "/a") -> list[RawClient]:
    """Clients that have the head and the first byte, and an unsent tail at the proxy."""
    clients = [proxy.client(receive_buffer=4096, timeout=20) for _ in range(count)]
    for client in clients:
        client.request("GET", target)
        assert client.wire.response_head().status == 200
    return clients


def check(clients: list[RawClient], allowed: list[bytes]) -> None:
    digests = {hashlib.sha256(body).digest() for body in allowed}
    for client in clients:
        try:
            body = client.wire.exactly(SIZE)
        except AssertionError:
            received = bytes(client.wire.buffer)
            assert any(whole.startswith(received) for whole in allowed), "mixed bytes before the cut"
            continue
        assert hashlib.sha256(body).digest() in digests


@pytest.mark.parametrize("tls", [False, True])
def test_eviction_pressure(tls: bool) -> None:
    def rule(request: Request) -> Reply:
        return fresh(600, version(request.target, 1))

    tree = site(0, store={"memory": "8 MiB"})
    with Origin(rule) as origin:
        tree["origins"]["app"]["servers"] = [origin.url]
        if tls:
            chain, key = certificate("site.test")
            tree["listen"] = [{"url": "https://127.0.0.1:0", "certificate": str(chain), "key": str(key)}]
        with Proxy(tree) as proxy:
            first = proxy.client(tls=tls)
            first.get("/a")
            clients = [proxy.client(tls=tls, receive_buffer=4096, timeout=20) for _ in range(4)]
            for client in clients:
                client.request("GET", "/a")
                assert client.wire.response_head().status == 200
            for number in range(12):  # 18 MB through 8 MiB
                assert first.get(f"/{number}").body == version(f"/{number}", 1)
            check(clients, [version("/a", 1)])
            assert proxy.stats()["store"]["used"] <= proxy.stats()["store"]["size"]


def test_replaced_while_leaving() -> None:
    def rule(request: Request) -> Reply:
        return fresh(10, version("/a", origin.count()))

    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        proxy.get("/a")
        clients = slow_readers(proxy, 4)
        proxy.advance(15)
        assert proxy.get("/a").body == version("/a", 2)
        clients += slow_readers(proxy, 2)
        proxy.advance(15)
        assert proxy.get("/a").body == version("/a", 3)
        check(clients[:4], [version("/a", 1)])
        check(clients[4:], [version("/a", 2)])


def test_invalidated_while_leaving() -> None:
    def rule(request: Request) -> Reply:
        return (
            reply(200) if request.method == "POST" else fresh(600, version("/a", origin.count(method="GET")))
        )

    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        proxy.get("/a")
        clients = slow_readers(proxy, 3)
        proxy.ask("POST", "/a")
        assert proxy.get("/a").body == version("/a", 2)
        check(clients, [version("/a", 1)])


def test_readers_that_vanish_give_their_memory_back() -> None:
    """More bytes pinned by readers than the store has; they leave, and the store is whole again."""

    def rule(request: Request) -> Reply:
        return fresh(600, version(request.target, 1))

    with Origin(rule) as origin, Proxy(site(origin, store={"memory": "8 MiB"})) as proxy:
        for round_ in range(3):
            clients = []
            for number in range(8):
                target = f"/{round_}-{number}"
                proxy.get(target)
                clients += slow_readers(proxy, 1, target)
            for client in clients:
                client.reset()
            proxy.settle()
        assert proxy.get("/after").body == version("/after", 1)
        with proxy.outcomes(hit=1):
            assert proxy.get("/after").body == version("/after", 1)
        assert origin.count() >= 25
