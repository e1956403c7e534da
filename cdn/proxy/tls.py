"""A TLS listener's context, and the host names its certificate covers. Decides which protocol versions are spoken."""

from __future__ import annotations

import ssl
from typing import Any

from cdn.config.values import Listener
from cdn.proxy._lane import NameSet


def context(listener: Listener) -> ssl.SSLContext:
    """Raises OSError or ssl.SSLError when the files do not fit."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    made.set_alpn_protocols(["http/1.1"])
    assert listener.certificate is not None
    made.load_cert_chain(listener.certificate, listener.key)
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
    import ipaddress

    return str(ipaddress.ip_address(address.strip()))
