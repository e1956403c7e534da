"""The content of a QUERY (RFC 10008): held whole, so that it can be part of the key and be sent again.

Decides how much is held and what of it makes the key. Whether the answer may be stored or used is the rules'.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cdn.proxy._front import ClientStream
from cdn.rules.message import RequestHead
from cdn.rules.vary import key_extras
from cdn.tier import Kind, OriginError, OriginResponse

if TYPE_CHECKING:
    from cdn.proxy.site import Site

HELD = 64 << 10  # bytes; a QUERY with more is passed
QUERY = b"\x00query"  # the part of a key that no GET has, as `lookup.VARIANT`
# What says how the content is to be read (RFC 10008 §2.7: the content and related metadata).
_METADATA = ("content-encoding", "content-language", "content-location", "content-type")


@dataclass(frozen=True, slots=True)
class Held:
    """What was read of a request's content; `whole` if that is all of it."""

    data: bytes
    whole: bool

    async def replayed(self) -> AsyncIterator[bytes]:
        if self.data:
            yield self.data


async def hold(stream: ClientStream) -> Held:
    """Read the content, as long as it is not more than is held. ValueError when its framing breaks."""
    parts: list[bytes] = []
    size = 0
    if stream.has_body and (stream.body_length or 0) <= HELD:
        while data := await stream.read():
            parts.append(data)
            size += len(data)
            if size > HELD:
                return Held(b"".join(parts), False)
    return Held(b"".join(parts), not stream.has_body or (stream.body_length or 0) <= HELD)


def content_key(primary: bytes, request: RequestHead, held: Held) -> bytes:
    """The URL's key, then the metadata and a digest of the content; it begins as the URL's own, so purges reach it."""
    parts = [QUERY, *key_extras(_METADATA, request.fields), hashlib.sha256(held.data).digest()]
    return primary + b"".join(len(part).to_bytes(4, "little") + part for part in parts)


async def fetch(site: Site, held: Held | None, *args: Any, **kwargs: Any) -> OriginResponse:
    """`Site.fetch` with what is held as its body. Safe and idempotent: asked again where a kept connection was dead."""
    if held is None:
        return await site.fetch(*args, **kwargs)
    kwargs["body_length"] = len(held.data)
    try:
        return await site.fetch(*args, body=held.replayed(), **kwargs)
    except OriginError as error:
        if error.kind is not Kind.RESET or error.received:
            raise
    return await site.fetch(*args, body=held.replayed(), **kwargs)
