"""A TLS listener: its context, the host names its certificate covers, and the handshakes in front of it.

Decides which protocol versions are spoken, and that a handshake counts as a connection from its first byte.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Callable
from typing import Any

from cdn.config.values import Listener
from cdn.proxy import listening
from cdn.proxy._front import Front
from cdn.proxy._lane import NameSet


def context(listener: Listener) -> ssl.SSLContext:
    """Raises OSError or ssl.SSLError when the files do not fit."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    made.set_alpn_protocols(["http/1.1"])
    assert listener.certificate is not None
    made.load_cert_chain(listener.certificate, listener.key)
    if listener.client_ca is not None:
        # A client without one is served all the same: it is no edge of ours then.
        made.verify_mode = ssl.CERT_OPTIONAL
        made.load_verify_locations(listener.client_ca)
    return made


def names(listener: Listener) -> NameSet:
    """The DNS names and addresses of the certificate (RFC 6125); its common name only when there is none of those."""
    assert listener.certificate is not None
    # The standard library reads a certificate's names only through this door, or from a peer.
    decoded: dict[str, Any] = ssl._ssl._test_decode_cert(listener.certificate)  # type: ignore[attr-defined]
    found = []
    for kind, value in decoded.get("subjectAltName", ()):
        if kind == "DNS":
            found.append(value.lower())
        elif kind == "IP Address":
            found.append(f"[{_compressed(value)}]" if ":" in value else value)
    if not found:
        found = [
            value.lower()
            for part in decoded.get("subject", ())
            for name, value in part
            if name == "commonName"
        ]
    return NameSet(found)


def _compressed(address: str) -> str:
    return str(ipaddress.ip_address(address.strip()))


class Acceptor:
    """Accepts on one listening socket, its own; each connection counts from then on, not from the end of its handshake.

    `timeout` (seconds) bounds a handshake. Make it inside the running loop.
    """

    def __init__(
        self, front: Front, listener: socket.socket, context: ssl.SSLContext, timeout: float
    ) -> None:
        self._front = front
        self._listener = listener
        self._context = context
        self._timeout = timeout
        self.give: Callable[[int], bool] | None = None  # whether another worker gets this connection
        self.handshakes: set[asyncio.Task[None]] = set()
        self._accepting = front.loop.create_task(self._accept())

    async def _accept(self) -> None:
        while True:
            try:
                sock, peer = await self._front.loop.sock_accept(self._listener)
            except OSError:  # out of descriptors, or a peer that left while it was queued
                await asyncio.sleep(0.05)
                continue
            if self.give is not None and self.give(sock.fileno()):
                sock.close()
            else:
                self.take(sock, peer)

    def take(self, sock: socket.socket, peer: Any) -> None:
        """Serve an accepted connection."""
        front = self._front
        address = peer[0] if isinstance(peer, tuple) else "unix"
        if not front.census.enter(address):
            front.census.leave(address)
            sock.close()
            return
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        task = front.loop.create_task(_shake_hands(front, sock, address, self._context, self._timeout))
        self.handshakes.add(task)
        task.add_done_callback(self.handshakes.discard)

    async def end(self) -> None:
        """No more connections; those that wait in the queue are taken, and handshakes go on."""
        await self._end_accepting()
        for sock, peer in listening.rest(self._listener):
            self.take(sock, peer)
        self._listener.close()

    async def _end_accepting(self) -> None:
        self._accepting.cancel()
        await asyncio.wait((self._accepting,))

    async def close(self) -> None:
        """Handshakes are given up, too."""
        await self._end_accepting()
        for task in list(self.handshakes):
            task.cancel()
        await asyncio.gather(*self.handshakes, return_exceptions=True)
        self._listener.close()


async def _shake_hands(
    front: Front, sock: socket.socket, address: str, context: ssl.SSLContext, timeout: float
) -> None:
    try:
        await front.loop.connect_accepted_socket(
            front.protocol, sock, ssl=context, ssl_handshake_timeout=timeout
        )
    except OSError:  # ssl.SSLError and time-outs are among them: the peer's doing
        front.census.leave(address)
        sock.close()
    except asyncio.CancelledError:
        front.census.leave(address)
        sock.close()
        raise
