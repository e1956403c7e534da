"""References in Location and Content-Location, resolved against the request's URI (RFC 3986 §5, RFC 9110
§4.3.1).

Decides only what a reference names; fragments are dropped. A reference that cannot be read names nothing.
"""

from __future__ import annotations

from urllib.parse import urljoin, urlsplit

from cdn.rules.message import RequestHead

_DEFAULT_PORT = {"http": 80, "https": 443}


def resolve(reference: str, request: RequestHead) -> str | None:
    """The absolute URI `reference` names, lower-case scheme and host, default port removed; None when
    malformed.
    """
    if any(char <= " " or char == "\x7f" for char in reference):
        return None
    try:
        parts = urlsplit(urljoin(request.url, reference))
        port = parts.port
    except ValueError:
        return None
    host = parts.hostname
    if parts.scheme not in _DEFAULT_PORT or not host or "@" in parts.netloc:
        return None
    authority = f"[{host}]" if ":" in host else host
    if port is not None and port != _DEFAULT_PORT[parts.scheme]:
        authority = f"{authority}:{port}"
    query = f"?{parts.query}" if parts.query else ""
    return f"{parts.scheme}://{authority}{parts.path or '/'}{query}"


def same_origin(uri: str, request: RequestHead) -> bool:
    """`uri` as `resolve` writes it: the same scheme, host and port as the request's?"""
    parts = urlsplit(uri)
    return parts.scheme == request.scheme and parts.netloc == request.authority.lower()


def names_target(reference: str, request: RequestHead) -> bool:
    """Does the reference name the request's own target URI?"""
    uri = resolve(reference, request)
    return uri is not None and uri == resolve(request.url, request)
