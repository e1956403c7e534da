"""A URL to where to connect and what to ask there; knows no sockets, except to look a name up.

The address that was checked is the one that is used: a name is looked up once. Whether a host is local is
decided by all its addresses together.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from cdn.loadtest.errors import LoadTestError

PLACE = "{}"  # in a URL: where the number of an object goes
# 0.0.0.0 and :: are where a server listens that takes all; a connection to them goes to this machine (Linux).
_NETWORKS = "127.0.0.0/8 10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 169.254.0.0/16 ::1/128 fc00::/7 fe80::/10"
_PRIVATE = tuple(map(ipaddress.ip_network, (*_NETWORKS.split(), "0.0.0.0/32", "::/128")))
_VISIBLE = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class Target:
    """Where everything is sent. `authority` is the Host of what does not name another."""

    tls: bool
    host: str
    port: int
    authority: str
    path: str  # with its query

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.authority}{self.path}"


def parse(url: str) -> Target:
    """An absolute http or https URL; LoadTestError says what is wrong with it."""
    parts = _split(url)
    try:
        port = parts.port
    except ValueError:
        raise LoadTestError(f"{url}: the port has to be a number from 1 to 65535") from None
    if parts.username is not None:
        raise LoadTestError(f"{url}: give credentials as a field instead: -H 'Authorization: ...'")
    if port == 0:
        raise LoadTestError(f"{url}: the port has to be a number from 1 to 65535")
    tls = parts.scheme == "https"
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(tls, parts.hostname or "", port or (443 if tls else 80), parts.netloc, path)


def parse_line(line: str) -> tuple[str | None, str]:
    """(authority or None, path) of a line of a URL list: a path, or an absolute URL; ValueError says why not."""
    if line.startswith("/"):
        if not _VISIBLE.fullmatch(line):
            raise ValueError("has white space or bytes beyond ASCII: escape them with %")
        return None, line.partition("#")[0]
    try:
        target = parse(line)
    except LoadTestError as error:
        raise ValueError(str(error)) from None
    return target.authority, target.path


def _split(url: str) -> SplitResult:
    if url and not _VISIBLE.fullmatch(url):
        raise LoadTestError(f"{url!r}: white space and bytes beyond ASCII have to be escaped with %")
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        good = False
    if not good:
        raise LoadTestError(
            f"{url or 'nothing'}: not an absolute URL: write http://HOST[:PORT]/PATH or https://…"
        )
    return parts


def addresses(target: Target) -> list[str]:
    """The addresses of the host; LoadTestError when it has none."""
    try:
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise LoadTestError(f"{target.host} cannot be looked up: {error.strerror}", failed=True) from None
    except UnicodeError:
        raise LoadTestError(f"{target.host!r} is not a host name") from None
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def is_local(address: str) -> bool:
    """Loopback, link-local, or of a private network (RFC 1918, RFC 4193)."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped:
        ip = ip.ipv4_mapped
    return any(ip in network for network in _PRIVATE if network.version == ip.version)
