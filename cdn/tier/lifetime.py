"""How long DNS says that what a name stands for is good: the smallest TTL of the records that answer.

The system's resolver gives addresses without their TTL, so the system's name server is asked for that beside it. Only
the number is taken from its answer, so a forged one can do no more than have a name looked up sooner or later. Must
not know who looks names up, nor when: a thread waits here.
"""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import dns.exception
import dns.message
import dns.name
import dns.query
import dns.rcode

RESOLV_CONF = Path("/etc/resolv.conf")
DNS_PORT = 53
WAIT = 0.5  # seconds for all answers of one name server
SERVERS = 2  # of those that the system knows

Server = tuple[str, int]


def lifetime(host: str, servers: Sequence[Server] | None = None) -> int | None:
    """Seconds, or None where DNS does not say: no server answers, or the name comes from elsewhere (/etc/hosts)."""
    name = _name(host)
    if name is None:
        return None
    for server in list(_known(RESOLV_CONF) if servers is None else servers)[:SERVERS]:
        try:
            found = _ask(server, name)
        except (OSError, dns.exception.DNSException):
            continue
        return min(found, default=None)
    return None


def _known(file: Path) -> Iterable[Server]:
    try:
        lines = file.read_text(errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver" and is_address(words[1]):
            yield words[1], DNS_PORT


def is_address(text: str) -> bool:
    """Whether it is an address of IPv4 or IPv6 already, a scope included, and no name."""
    try:
        ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return True


def _name(host: str) -> dns.name.Name | None:
    """None for one that DNS is not asked for: no dot, or no name at all."""
    if not host.isascii() or "." not in host.rstrip("."):
        return None
    try:
        return dns.name.from_text(host)
    except dns.exception.DNSException:
        return None


def _ask(server: Server, name: dns.name.Name) -> list[int]:
    """The TTLs of all answers for both families. OSError, DNSException where there is no whole answer in time."""
    family, _type, _protocol, _name, where = socket.getaddrinfo(
        *server, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST
    )[0]
    end = time.monotonic() + WAIT
    found: list[int] = []
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.connect(where)  # so that it is heard where nobody listens
        for kind in ("A", "AAAA"):
            answer = dns.query.udp(
                dns.message.make_query(name, kind),
                server[0],
                max(0.0, end - time.monotonic()),
                server[1],
                ignore_unexpected=True,
                ignore_errors=True,
                sock=sock,
            )
            if answer.rcode() == dns.rcode.NOERROR:
                found += [records.ttl for records in answer.answer]
    return found
