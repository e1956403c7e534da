"""Clients that do not read on: what they take of a node's memory, beside the store and the kernel's buffers."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from ..harness import Origin, RawClient, fresh, site
from ..harness.client import HOST
from ..harness.process import free_port
from ..harness.tls import certificate
from .node import Node

pytestmark = pytest.mark.real

SIZE = 10 << 20
READERS = 60
MOST = 400 << 10  # bytes of memory each


@pytest.mark.parametrize("version", ["1.1", "1.0"], ids=["lane", "exchange"])
def test_a_tls_client_that_does_not_read_holds_little_memory(version: str) -> None:
    """It held 700 KB: the transport took a quarter of a megabyte before it was full, and that below as much again."""
    chain, key = certificate("site.test")
    port = free_port()
    listen = [{"url": f"https://127.0.0.1:{port}", "certificate": str(chain), "key": str(key)}]
    with Origin(lambda request: fresh(600, b"x" * SIZE)) as origin:
        tree = site(origin, listen=listen, store={"memory": "64 MiB"})
        with Node(tree, port=port) as node, ExitStack() as readers:

            def ask() -> None:
                client = RawClient(node.port, tls=True, timeout=20, receive_buffer=4096)
                readers.enter_context(client)
                client.send(f"GET /large HTTP/{version}\r\nHost: {HOST}\r\n\r\n".encode())
                assert client.wire.response_head().status == 200

            with RawClient(node.port, tls=True, timeout=20) as first:
                assert len(first.get("/large").body) == SIZE
            for _ in range(10):
                ask()  # what is taken once
            before = node.memory("Anonymous")
            for _ in range(READERS):
                ask()
            each = (node.memory("Anonymous") - before) / READERS
    assert each < MOST, f"{each:,.0f} bytes each"
