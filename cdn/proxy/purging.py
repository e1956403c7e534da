"""Purging: from a URL to the keys it may have, from names to their normal form. The store removes, the log notes.

Decides nothing about when. The key of a URL depends on its route (query filter, fields in the key), so the URL is
matched as a request would be; every key that begins with the URL's own parts is reached, which takes in variants.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cdn._core import HeadError, cache_key, split_target
from cdn.proxy.lookup import keyed_target
from cdn.rules.message import Fields, RequestHead
from cdn.rules.tags import MAX_LENGTH

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
    keys = {key, *site.equivalents.keys(request, query)}
    return sum(site.memory.purge(reached, soft, site.clock.now()) for reached in keys)


@dataclass(frozen=True, slots=True)
class Named:
    """What is purged by name, in normal form: see `named`."""

    tags: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()


def named(tags: Iterable[str], prefixes: Iterable[str], hosts: Iterable[str]) -> Named:
    """A tag is a value of Surrogate-Key or Cache-Tag, a prefix begins a URL without its query, a host stands for all
    its ports and both schemes. ValueError with one sentence for what can be none of them.
    """
    return Named(
        tuple(_tag(tag) for tag in tags),
        tuple(_prefix(prefix) for prefix in prefixes),
        tuple(_host(host) for host in hosts),
    )


def _tag(tag: str) -> str:
    tag = tag.strip(" \t")
    try:
        wire = tag.encode("utf-8").decode("latin-1")  # as a field's bytes are kept
    except UnicodeEncodeError:
        wire = ""
    if not wire or len(wire) > MAX_LENGTH or any(char < " " or char == "\x7f" for char in tag) or "," in tag:
        raise ValueError(
            f"{tag[:100]!r} is not a tag: give one word of Surrogate-Key, or one member of Cache-Tag"
        )
    return wire


def _prefix(prefix: str) -> str:
    if "?" in prefix or "#" in prefix:
        raise ValueError(f"{prefix[:200]!r} has a query: a prefix ends within the path")
    request = request_for(prefix)
    return f"{request.scheme}://{request.authority}{request.path}"


def _host(host: str) -> str:
    try:
        authority = request_for(f"http://{host}").authority
    except ValueError:
        authority = ""
    bare = authority.rpartition("]")[2] if authority.startswith("[") else authority
    if not authority or ":" in bare or any(char in host for char in "/?#"):
        raise ValueError(f"{host[:200]!r} is not a host: give a name or an address, without a port")
    return authority


def purge_named(site: Site, names: Named, soft: bool) -> None:
    """In force when it returns, at a cost that does not depend on what is stored."""
    site.purges.purge(names.tags, names.prefixes, names.hosts, soft, site.clock.now())
