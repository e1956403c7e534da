"""What the origin of these tests serves: small pages, and answers far larger than what the kernel takes of them
for a slow client.
"""

from __future__ import annotations

from ..harness import Origin, RawClient, Reply, Request, fresh, reply, site
from .node import Node

LARGE = bytes(range(256)) * (48 << 10)  # 12 MiB
RECEIVE = 64 << 10  # bytes of the receive buffer of a slow client


def answer(request: Request) -> Reply:
    """By path: /large and /large-passed, /passed, and a page for anything else; `passed` is never stored."""
    path = request.target.partition("?")[0]
    if path == "/large":
        return fresh(600, LARGE)
    if path == "/large-passed":
        return reply(200, {"Cache-Control": "no-store"}, LARGE)
    if path == "/passed":
        return reply(200, {"Cache-Control": "no-store"}, b"passed")
    return fresh(600, page(path))


def page(path: str) -> bytes:
    return b"page " + path.encode()


def node(origin: Origin, port: int | None = None) -> Node:
    """A node before that origin, with room for its large answers."""
    return Node(site(origin, store={"memory": "64 MiB"}), port=port)


def slow_client(port: int) -> RawClient:
    return RawClient(port, timeout=20, receive_buffer=RECEIVE)
