"""The word by which an edge shows a shield who it is, and tells it what the edge's client used: `CDN-Edge`.

    CDN-Edge: v1;t=1700000000;scheme=https;mac=5f0c…

Where nodes share a bus the word also says up to which purge the edge has come (`seq=1c3.4711`, the stream and a number
in it), so that no shield answers with what the edge has purged.

The code covers what the word says and the request it stands in front of, so that a word that was overheard opens
nothing else, and that not for long. Where the connection itself proves the edge (a client certificate that the
shield's authority signed) there need be no code. Decides whether a word is believed; must not know sockets,
nor where a secret comes from. The code is HMAC-SHA-256 (RFC 2104).
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass

FIELD = "cdn-edge"
SHOWN_AS = "CDN-Edge"
LIFETIME = 60  # seconds that two nodes' clocks and a queue may differ by
LONGEST = 512
SCHEMES = ("http", "https")
_PLACE = re.compile(r"([0-9a-f]{1,5})\.([0-9]{1,14})", re.ASCII).fullmatch


@dataclass(frozen=True, slots=True)
class Edge:
    """What a believed word says: the scheme of the edge's own client."""

    scheme: str
    place: tuple[int, int] | None = None  # stream and sequence of the latest purge that it knows


def word(
    secret: bytes | None,
    *,
    now: int,
    scheme: str,
    method: str,
    host: str,
    target: str,
    place: object | None = None,
) -> str:
    """The field's value for one request; `now` in seconds, `host` and `target` as they are sent; `place` is written
    as `stream.sequence`, the stream in hexadecimal digits."""
    said = f"v1;t={now};scheme={scheme}"
    if place is not None:
        said += f";seq={place}"
    if secret is None:
        return said
    return f"{said};mac={_code(secret, said, method, host, target)}"


def believe(
    value: str, secret: bytes | None, *, verified: bool, now: int, method: str, host: str, target: str
) -> Edge | None:
    """None: not from an edge of ours. `verified`: the connection has proved that it is one."""
    if len(value) > LONGEST:
        return None
    said, _, code = value.partition(";mac=")
    if secret is not None and code:
        if not code.isascii() or not hmac.compare_digest(code, _code(secret, said, method, host, target)):
            return None
    elif not verified:
        return None
    version, *members = said.split(";")
    given = dict(member.partition("=")[::2] for member in members)
    when = given.get("t", "")
    if version != "v1" or not (when.isascii() and when.isdigit() and len(when) <= 12):
        return None
    if abs(now - int(when)) > LIFETIME or given.get("scheme") not in SCHEMES:
        return None
    seq = given.get("seq")
    if seq is None:
        return Edge(given["scheme"])
    found = _PLACE(seq)
    return None if found is None else Edge(given["scheme"], (int(found[1], 16), int(found[2])))


def lasting(value: str, now: int) -> tuple[str, int] | None:
    """Of a believed word: what it says before its code, and for how many seconds whoever says the same, and has a code
    over it and a request of his own, is believed, too. None: not at all, for there is no code."""
    said, _, code = value.partition(";mac=")
    given = dict(member.partition("=")[::2] for member in said.split(";"))
    return (said, int(given["t"]) + LIFETIME - now) if code else None


def _code(secret: bytes, said: str, method: str, host: str, target: str) -> str:
    message = "\n".join((said, method, host, target)).encode("latin-1", "replace")
    return hmac.digest(secret, message, "sha256").hex()
