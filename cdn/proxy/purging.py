"""Purging by URL: from a URL to the keys it may have. Decides nothing about when; the store removes.

The key of a URL depends on its route (query filter, fields in the key), so the URL is matched as a request would be;
every key that begins with the URL's own parts is reached, which takes in variants.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdn._core import HeadError, cache_key, split_target
from cdn.proxy.lookup import keyed_target
from cdn.rules.message import Fields, RequestHead

if TYPE_CHECKING:
    from cdn.proxy.site import Site


def request_for(url: str, fields: list[tuple[str, str]] | None = None, method: str = "GET") -> RequestHead:
    """A request for an absolute URL, in normal form. ValueError with one sentence when it is none."""
    scheme, separator, rest = url.partition("://")
    scheme = scheme.lower()
    if not separator or scheme not in ("http", "https"):
        raise ValueError(f"{url[:200]!r} is not an absolute URL: write http://host/path or https://host/path")
    rest = rest.partition("#")[0]
    cut = min((i for i in (rest.find("/"), rest.find("?")) if i >= 0), default=len(rest))
    host, target = rest[:cut], rest[cut:]
    if not target.startswith("/"):
        target = "/" + target
    try:
        authority, path, query = split_target(
            target.encode("ascii"), scheme == "https", host.encode("ascii"), method
        )
    except (HeadError, UnicodeEncodeError):
        raise ValueError(f"{url[:200]!r} is not a URL that a request could ask for") from None
    return RequestHead(method, scheme, authority, path, query, Fields(fields or []))


def purge_url(site: Site, url: str, soft: bool = False) -> int:
    """Purge what is stored for a URL, all variants; returns how many objects this reached."""
    request = request_for(url)
    index = site.table.find(request.authority, request.path, "GET")
    query = keyed_target(request, site.table.query_filter(index)) if index >= 0 else request.query
    key = cache_key(
        request.scheme == "https",
        request.authority.encode("latin-1"),
        request.path.encode("latin-1"),
        None if query is None else query.encode("latin-1"),
    )
    return site.memory.purge(key, soft, site.clock.now())
