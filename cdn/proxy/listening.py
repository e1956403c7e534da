"""Listening sockets: bound once, held for as long as the node lives, and closed without losing who is in the queue.

Decides how an address becomes sockets and how arrivals end. A port is bound without SO_REUSEPORT, so that a foreign
owner is noticed even when it shares its port with everybody. It must not know who accepts.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Collection
from typing import Any

from cdn.config.values import Address

BACKLOG = 4096
_SO_ATTACH_FILTER = 26
# Classic BPF over a TCP header: of a packet whose flags are SYN without ACK no byte, of every other one all.
_DROP_SYN = b"".join(
    struct.pack("=HBBI", *step)
    for step in (
        (0x30, 0, 0, 13),  # the flags
        (0x54, 0, 0, 0x12),  # of them SYN and ACK
        (0x15, 0, 1, 0x02),
        (0x06, 0, 0, 0),
        (0x06, 0, 0, 0xFFFFFFFF),
    )
)
_SYN_RECEIVED = b"03"  # in the kernel's tables
QUIET = 1  # seconds, roughly, that a connection may say nothing before it is told of


class BindError(OSError):
    """A listener's address could not be had; `address` says which."""

    def __init__(self, address: Address, cause: OSError) -> None:
        super().__init__(cause.errno, cause.strerror or str(cause))
        self.address = address


def bind(address: Address) -> list[socket.socket]:
    """Sockets that listen on every address the host stands for, non-blocking, all on the same port; BindError."""
    made: list[socket.socket] = []
    port = address.port
    try:
        found = socket.getaddrinfo(
            address.host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        for family, kind, protocol, _name, where in dict.fromkeys(found):
            sock = socket.socket(family, kind, protocol)
            made.append(sock)
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # what is accepted inherits it
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((where[0], port, *where[2:]))
            sock.listen(BACKLOG)  # two sockets bound with SO_REUSEADDR only meet here
            port = sock.getsockname()[1]
    except OSError as error:
        for sock in made:
            sock.close()
        raise BindError(address, error) from error
    return made


def tell_of_the_first_bytes(sock: socket.socket) -> None:
    """Whoever accepts is told of a connection when it says something, or has said nothing for about a second.

    So there is one wake-up for it instead of two, and its request is there when it is accepted. For a protocol in which
    the client speaks first.
    """
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, QUIET)
    # Inherited by what is accepted: the answer acknowledges the first request, as every later one.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)


def turn_away(sock: socket.socket) -> None:
    """Let nobody new come; who has begun to connect can still do so, and whoever is in the queue can be accepted.

    Closing a listening socket resets what it still holds, so arrivals have to end before the last `accept`. The
    filter drops their first packet; when the socket is closed, its repetition meets a closed port.
    """
    steps = len(_DROP_SYN) // 8
    program = ctypes.create_string_buffer(_DROP_SYN, len(_DROP_SYN))
    address = ctypes.addressof(program)
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", steps, address))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 0)


def connecting(ports: Collection[int]) -> bool:
    """Whether somebody has begun to connect to one of these ports and is in no queue yet. Reads the kernel's tables."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(table, "rb") as lines:
                for line in lines:
                    _, local, _, state, _ = line.split(None, 4)
                    if state == _SYN_RECEIVED and int(local.rpartition(b":")[2], 16) in ports:
                        return True
        except OSError:  # no IPv6 here
            continue
    return False


def rest(sock: socket.socket) -> list[tuple[socket.socket, Any]]:
    """Who is in the queue, with its address."""
    taken = []
    while True:
        try:
            taken.append(sock.accept())
        except ConnectionAbortedError:  # it left while it was queued
            continue
        except OSError:
            return taken
