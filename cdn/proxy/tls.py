"""A TLS listener: its context, the host names its certificate covers, and the handshakes in front of it.

Decides which protocol versions are spoken, and that a handshake counts as a connection from its first byte.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from typing import Any

from cdn.config.values import Listener
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


async def accept(front: Front, listener: socket.socket, context: ssl.SSLContext, timeout: float) -> None:
    """Accept connections until cancelled; each counts from here on, not from the end of its handshake.

    `timeout` (seconds) bounds a handshake.
    """
    loop, tasks = front.loop, set[asyncio.Task[None]]()
    try:
        while True:
            try:
                sock, peer = await loop.sock_accept(listener)
            except OSError:  # out of descriptors, or a peer that left while it was queued
                await asyncio.sleep(0.05)
                continue
            address = peer[0] if isinstance(peer, tuple) else "unix"
            if not front.census.enter(address):
                front.census.leave(address)
                sock.close()
                continue
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            task = loop.create_task(_shake_hands(front, sock, address, context, timeout))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
    finally:
        for task in tasks:
            task.cancel()


async def _shake_hands(
    front: Front, sock: socket.socket, address: str, context: ssl.SSLContext, timeout: float
) -> None:
    try:
        await front.loop.connect_accepted_socket(
            lambda: front.protocol(True), sock, ssl=context, ssl_handshake_timeout=timeout
        )
    except OSError:  # ssl.SSLError and time-outs are among them: the peer's doing
        front.census.leave(address)
        sock.close()
    except asyncio.CancelledError:
        front.census.leave(address)
        sock.close()
        raise
