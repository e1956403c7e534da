"""What an origin is asked when a key is to be filled: a plain request, or one with the validators that are known.

Decides nothing of its own: which conditions a request gets, the rules say. Must not know how an origin is reached.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdn.proxy.lookup import Found
from cdn.proxy.verdicts import Asked
from cdn.rules.coding import fits
from cdn.rules.message import Fields, RequestHead
from cdn.rules.stored import Brief, Stored
from cdn.rules.validation import fill_fields, validation_request, variants_request
from cdn.store import Entry

if TYPE_CHECKING:
    from cdn.proxy.exchange import Exchange
    from cdn.proxy.site import Site


def about(
    site: Site, primary: bytes, fields: Fields, codings: tuple[str, ...]
) -> tuple[list[Entry], list[Brief]]:
    """The records of `candidates`, and what their origin is asked by; for less where nothing else is asked of them."""
    told = [pair for pair in site.variants.briefly(primary) if fits(pair[1], fields, codings)]
    return [entry for entry, _ in told], [brief for _, brief in told]


def candidates(
    site: Site, primary: bytes, fields: Fields, codings: tuple[str, ...]
) -> list[tuple[Entry, Stored]]:
    """The stored variants of a URL that would do for a request with these fields if its origin said so."""
    return [pair for pair in site.variants.stored(primary) if fits(pair[1], fields, codings)]


def ask(
    exchange: Exchange, request: RequestHead, query: str | None, found: Found, stored: Stored | None
) -> Asked:
    known: tuple[Entry, Stored] | None = None
    variants: list[tuple[Entry, Stored]] = []
    if found.entry is not None and stored is not None:
        known = (found.entry, stored)
        fields = validation_request(request, stored)
    elif found.specs:
        codings = exchange.route.compress if exchange.route is not None else ()
        variants = candidates(exchange.site, found.primary, request.fields, codings)
        fields = variants_request(request, [variant for _, variant in variants])
    else:
        fields = fill_fields(request.fields)
    return Asked(
        request,
        found.primary,
        query,
        fields,
        known,
        variants,
        found.specs,
        exchange.stream.address,
        exchange.trusted,
        exchange.content,
        attempt=exchange.attempted(),
    )
