"""Large bodies leave in slices, the next only while the socket takes it: memory is bounded whatever the
readers do."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.harness import Origin, RawClient, Request, reply, site
from tests.harness.process import Serve, free_port
from tests.harness.tls import certificate

MIB = 1 << 20


def from_one_piece(size: int, cacheable: bool) -> Callable[[Request], None]:
    """An origin's rule: all of its answers send the same memory, so that a hundred do not fill the machine."""
    body = memoryview(bytes(size))
    allowed = "max-age=600" if cacheable else "no-store"
    head = reply(200, {"Cache-Control": allowed, "Content-Length": str(size)}, framing="none").encode("HEAD")

    def answer(request: Request) -> None:
        request.conn.send(head)
        request.conn.send(body)

    return answer


def slow_readers(count: int, size: int, tls: bool, cacheable: bool) -> None:
    chain, key = certificate("site.test")
    port = free_port()
    listener = {"url": f"https://127.0.0.1:{port}", "certificate": str(chain), "key": str(key)}
    listen = [listener if tls else f"http://127.0.0.1:{port}"]
    memory = f"{size // MIB * 2 + 16} MiB"
    tree = site(0, listen=listen, store={"memory": memory}, log={"access": False})
    with Origin(from_one_piece(size, cacheable), patience=60) as origin:
        tree["origins"]["app"]["servers"] = [origin.url]
        node = Serve(tree)
        node.port = port
        with node:
            with RawClient(port, tls=tls, timeout=60) as first:
                first.request("GET", "/big")
                first.read_head()[1].expect(bytes(size))
            before = node.resident()
            clients = [RawClient(port, tls=tls, timeout=60, receive_buffer=16 << 10) for _ in range(count)]
            for client in clients:
                client.request("GET", "/big")
                assert client.wire.response_head().status == 200
            time.sleep(1.0)
            grown = node.resident() - before
            for client in clients:
                client.close()
            # a slice, a write buffer and TLS records each, never the object
            assert grown < count * 2 * MIB + 8 * MIB, f"{grown / MIB:.1f} MiB for {count} readers"


@pytest.mark.parametrize("cacheable", [True, False], ids=["stored", "passed"])
@pytest.mark.parametrize("tls", [True, False], ids=["tls", "plain"])
def test_slow_readers(tls: bool, cacheable: bool) -> None:
    slow_readers(8, 24 * MIB, tls, cacheable)


@pytest.mark.full
@pytest.mark.alone
@pytest.mark.timeout(300)
@pytest.mark.parametrize("cacheable", [True, False], ids=["stored", "passed"])
def test_a_hundred_slow_tls_readers(cacheable: bool) -> None:
    slow_readers(100, 100 * MIB, True, cacheable)
