"""Listening sockets: bound once, held for as long as the node lives, and closed without losing who is in the queue.

Decides how an address becomes sockets and how arrivals end. A port is bound without SO_REUSEPORT, so that a foreign
owner is noticed even when it shares its port with everybody. It must not know who accepts.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from typing import Any

from cdn.config.values import Address

BACKLOG = 4096
_SO_ATTACH_FILTER = 26
_DROP_ALL = struct.pack("=HBBI", 0x06, 0, 0, 0)  # classic BPF: return 0 bytes of every packet


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


def turn_away(sock: socket.socket) -> None:
    """Let no new connection into the queue; whoever is in it can still be accepted.

    Closing a listening socket resets what it still holds, so arrivals have to end before the last `accept`. The
    filter drops their first packet; when the socket is closed, its repetition meets a closed port.
    """
    program = ctypes.create_string_buffer(_DROP_ALL, len(_DROP_ALL))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", 1, ctypes.addressof(program)))


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
