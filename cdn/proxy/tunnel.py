"""The tunnel lane: an upgrade passed to the origin, and raw bytes both ways after its 101 (RFC 9110 §7.8).

Decides when bytes stop being HTTP: never before the origin's own 101, and only for protocols the tier allows. What the
client sends before that stays with the front.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from cdn.config.values import Route
from cdn.proxy import passing
from cdn.rules.fields import end_to_end
from cdn.rules.message import RequestHead
from cdn.rules.outcome import NoStoreReason, Outcome
from cdn.rules.stored import status_line
from cdn.tier import Tunnel, allowed_upgrade

if TYPE_CHECKING:
    from cdn.proxy.exchange import Exchange

WINDOW = 256 << 10  # bytes from the client that may wait for the origin


async def offered(exchange: Exchange, route: Route, request: RequestHead) -> bool:
    """Whether the request's upgrade was taken to the origin (and answered, one way or the other).

    An upgrade that is not allowed is no error: the request goes on as an ordinary one (RFC 9110 §7.8 lets a server
    ignore it).
    """
    site, stream = exchange.site, exchange.stream
    protocol = allowed_upgrade(request.fields.get("upgrade"), site.origins_of(route).upgrades)
    if protocol is None or stream.method != "GET" or stream.has_body or stream.version < (1, 1):
        return False
    exchange.lane = "tunnel"
    site.counters.origin(route.origin)["requests"] += 1
    sent = site.origin_request(
        route, request, request.fields, request.query, peer=stream.address, trusted=exchange.trusted
    )
    got = await site.origins_of(route).upgrade(
        route.origin, sent, protocol=protocol, key=site.place(route, request, request.query)
    )
    if not isinstance(got, Tunnel):
        # What the client sent behind its request may be of the protocol it hoped for: never read as a request.
        stream.no_keep_alive()
        await passing.relay(exchange, got, got.head, request, Outcome.PASS, NoStoreReason.METHOD)
        return True
    exchange.entry.outcome = Outcome.PASS.value
    exchange.entry.status = 101
    exchange.entry.origin = got.server
    try:
        await _both_ways(exchange, got, protocol)
    finally:
        got.abort()
    return True


async def _both_ways(exchange: Exchange, tunnel: Tunnel, protocol: str) -> None:
    stream = exchange.stream
    waiting: list[bytes] = []
    size = 0
    wake = asyncio.Event()
    ended = False

    def receive(data: bytes | None) -> None:
        nonlocal size, ended
        if not data:
            ended = True
        else:
            waiting.append(data)
            size += len(data)
            if size > WINDOW:
                stream.tunnel_hold(True)
        wake.set()

    async def upstream() -> None:
        nonlocal size
        while True:
            await wake.wait()
            wake.clear()
            while waiting:
                data = b"".join(waiting)
                waiting.clear()
                size = 0
                stream.tunnel_hold(False)
                await tunnel.write(data)
            if ended:
                tunnel.write_eof()
                return

    async def downstream() -> None:
        while True:
            data = await tunnel.read()
            if not data:
                return
            stream.tunnel_write(data)
            await stream.drain()

    lines = "".join(f"{n}: {v}\r\n" for n, v in end_to_end(tunnel.head.fields))
    head = status_line(101, tunnel.head.reason or "Switching Protocols")
    head += f"Connection: upgrade\r\nUpgrade: {protocol}\r\n{lines}\r\n".encode("latin-1")
    stream.become_tunnel(head, receive)
    tasks = [asyncio.ensure_future(upstream()), asyncio.ensure_future(downstream())]
    try:
        # The origin's end ends the tunnel; the client's end is passed on and the origin may still speak.
        await tasks[1]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        stream.tunnel_end()
