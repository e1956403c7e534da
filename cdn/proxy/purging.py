"""Purging: from a URL to the keys it may have, from names to their normal form. The purge log notes them.

Decides nothing about when. The key of a URL depends on its route's query filter, so the URL is matched as a request
would be; every key that begins with the URL's own parts is reached, which takes in variants and parts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cdn._core import HeadError, cache_key, split_target
from cdn.proxy import stored_parts, stored_slices
from cdn.proxy._routes import RouteTable
from cdn.proxy.lookup import keyed_target, url_part
from cdn.rules.message import Fields, RequestHead
from cdn.rules.tags import MAX_LENGTH
from cdn.store import Memory

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


def key_of(table: RouteTable, url: str) -> bytes:
    """The key of a URL, without what a route's fields and cookies add to it."""
    return _key(table, request_for(url))[0]


def _key(table: RouteTable, request: RequestHead) -> tuple[bytes, str | None]:
    index = table.find(request.authority, request.path, "GET")
    query = keyed_target(request, table.query_filter(index)) if index >= 0 else request.query
    key = cache_key(
        request.scheme == "https",
        request.authority.encode("latin-1"),
        request.path.encode("latin-1"),
        None if query is None else query.encode("latin-1"),
    )
    return key, query


def equivalent_keys(site: Site, urls: Iterable[str]) -> set[bytes]:
    """The keys from which this worker would answer these URLs, beside their own (No-Vary-Search)."""
    found: set[bytes] = set()
    for url in urls:
        request = request_for(url)
        found.update(site.equivalents.keys(request, _key(site.table, request)[1]))
    return found


def drop(site: Site, keys: Iterable[bytes], soft: bool) -> int:
    """Carry out at once what a noted purge would do when it is met: here, now, and without looking at every object.

    Their flights are not joined any more, and their memory is free. Returns how many of the keys had something stored.
    """
    parts = {url_part(key) for key in keys}
    for key in [key for key in site.flights if url_part(key) in parts]:
        site.memory.void(key)
    return sum(_drop_one(site.memory, key, soft) for key in keys)


def _drop_one(memory: Memory, key: bytes, soft: bool) -> bool:
    parts = memory.lookup(stored_parts.index_key(key)) is not None
    slices = memory.lookup(stored_slices.list_key(key)) is not None
    if soft:
        return parts or slices or memory.lookup(key) is not None
    if parts:
        stored_parts.drop(memory, key, key)
    if slices:
        stored_slices.drop_list(memory, key)
    return memory.remove(key) or parts or slices


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
