"""What the client of one server is given: where it is, and one request on its way there.

Decides nothing but the Host value and the name that a certificate must carry. Must not know how the client
works.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from cdn.config.values import Address, Origin
from cdn.tier.seam import OnInterim, OriginRequest


@dataclass(frozen=True, slots=True)
class Call:
    """One request for an origin. `body_length` is None where it is not known beforehand: it is sent in
    chunks. A body that is there as bytes leaves with the head, and has that length."""

    request: OriginRequest
    host: str
    body: AsyncIterator[bytes] | bytes | None = None
    body_length: int | None = None
    on_interim: OnInterim | None = None


def host_value(origin: Origin, address: Address, request: OriginRequest) -> str:
    """The Host to send: the configured one, the request's, or the server's own address (RFC 9110 §7.2)."""
    if origin.host is not None:
        return origin.host
    if request.host is not None:
        return request.host
    host = f"[{address.host}]" if ":" in address.host else address.host
    if address.path is not None:
        return host
    usual = 443 if address.scheme == "https" else 80
    return host if address.port == usual else f"{host}:{address.port}"


def server_name(origin: Origin, address: Address) -> str:
    """The name that a server's certificate must be for: as configured, or the configured Host, or the server's."""
    if origin.tls.name is not None:
        return origin.tls.name
    if origin.host is None:
        return address.host
    name = origin.host
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name.partition(":")[0]
