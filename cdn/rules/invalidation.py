"""What a non-error response to an unsafe request makes invalid (RFC 9111 §4.4). Only names URIs."""

from __future__ import annotations

from cdn.rules.message import RequestHead, ResponseHead
from cdn.rules.uris import resolve, same_origin
from cdn.rules.use import is_unsafe


def targets(request: RequestHead, response: ResponseHead) -> list[str]:
    """Absolute URIs whose stored responses go: the target's, and those of the same origin that the response
    names.
    """
    if not is_unsafe(request.method) or not 200 <= response.status <= 399:
        return []
    out = [request.url]
    for name in ("location", "content-location"):
        for reference in response.fields.all(name):
            uri = resolve(reference, request)
            if uri is not None and same_origin(uri, request) and uri not in out:
                out.append(uri)
    return out
