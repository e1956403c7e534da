"""How long DNS says that what a name stands for is good: the smallest TTL of the records that answer.

The system's resolver gives addresses without their TTL, so the system's name server is asked for that beside it (RFC
1035 §4). Only the number is taken from its answer, so a forged one can do no more than have a name looked up
sooner or later. Must not know who looks names up, nor when: a thread waits here.
"""

from __future__ import annotations

import ipaddress
import secrets
import socket
import struct
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

RESOLV_CONF = Path("/etc/resolv.conf")
DNS_PORT = 53
WAIT = 0.5  # seconds for all answers of one name server
SERVERS = 2  # of those that the system knows
LARGEST = 4096  # bytes of an answer; UDP without EDNS gives 512
_A, _AAAA, _IN = 1, 28, 1
_HEAD = struct.Struct("!HHHHHH")
_RECORD = struct.Struct("!HHIH")
_RECURSION, _RESPONSE, _RCODE = 0x0100, 0x8000, 0x000F

Server = tuple[str, int]


def lifetime(host: str, servers: Sequence[Server] | None = None) -> int | None:
    """Seconds, or None where DNS does not say: no server answers, or the name comes from elsewhere (/etc/hosts)."""
    question = _question(host)
    if question is None:
        return None
    for server in list(_known(RESOLV_CONF) if servers is None else servers)[:SERVERS]:
        try:
            found = _ask(server, question)
        except OSError:
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
        if len(words) >= 2 and words[0] == "nameserver" and _is_address(words[1]):
            yield words[1], DNS_PORT


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return True


def _question(host: str) -> bytes | None:
    """The name as it is written in a query; None for one that DNS is not asked for: no dot, or no name at all."""
    labels = host.rstrip(".").split(".")
    if len(labels) < 2 or not host.isascii() or not all(1 <= len(label) <= 63 for label in labels):
        return None
    written = b"".join(bytes([len(label)]) + label.lower().encode() for label in labels) + b"\0"
    return written if len(written) <= 255 else None


def _ask(server: Server, name: bytes) -> list[int]:
    """The TTLs of all answers for both families. OSError where there is no whole answer in time."""
    family, _type, _protocol, _name, where = socket.getaddrinfo(
        *server, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST
    )[0]
    due = {secrets.randbits(16): kind for kind in (_A, _AAAA)}
    found: list[int] = []
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.connect(where)
        for number, kind in due.items():
            sock.send(_HEAD.pack(number, _RECURSION, 1, 0, 0, 0) + name + struct.pack("!HH", kind, _IN))
        end = time.monotonic() + WAIT
        while due:
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError
            sock.settimeout(left)
            answer = sock.recv(LARGEST)
            number = int.from_bytes(answer[:2])
            if number in due and (ttls := _ttls(answer, name, due[number])) is not None:
                del due[number]
                found += ttls
    return found


def _ttls(answer: bytes, name: bytes, kind: int) -> list[int] | None:
    """Of every record in the answer section; none where it says that there is no such name. None: it answers
    something else, or is no answer.
    """
    try:
        _number, flags, questions, records, _authority, _more = _HEAD.unpack_from(answer)
        asked = name + struct.pack("!HH", kind, _IN)
        at = _HEAD.size + len(asked)
        if not flags & _RESPONSE or questions != 1 or answer[_HEAD.size : at].lower() != asked.lower():
            return None
        out: list[int] = []
        for _ in range(records if not flags & _RCODE else 0):
            at = _past_name(answer, at)
            _kind, _class, ttl, length = _RECORD.unpack_from(answer, at)
            at += _RECORD.size + length
            if at > len(answer):
                return out or None
            out.append(ttl if ttl < 1 << 31 else 0)  # RFC 2181 §8
    except (struct.error, IndexError):
        return None
    return out


def _past_name(answer: bytes, at: int) -> int:
    """Where the name that begins at `at` ends; a pointer ends it (RFC 1035 §4.1.4)."""
    while True:
        length = answer[at]
        if length >= 0xC0:
            return at + 2
        if length == 0:
            return at + 1
        at += 1 + length
