"""Where a response that varies is stored: under its variant's key, with a marker under its URL's that says so.

Decides nothing about the response; the rules have said by which fields it varies. Must not know who fetched it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdn.proxy.drafts import vary_marker
from cdn.rules.stored import MAX_SPECS
from cdn.rules.vary import Spec
from cdn.store import Fill

if TYPE_CHECKING:
    from cdn.proxy.site import Site


def place(
    site: Site,
    fill: Fill,
    primary: bytes,
    key: bytes,
    specs: tuple[Spec, ...],
    vary: Spec,
    response_time: int,
    until: int,
) -> Fill | None:
    """The fill for the variant `key` of `primary` in the place of `fill`, whose request brought it.

    `specs` are those that the marker lists; `until` is when the response is of no use any more, node time. Whoever
    waits at the URL's own key looks again. None: that variant is being filled by somebody else.
    """
    site.variants.filled(primary, key)
    now = add_spec(specs, vary)
    if now != specs:
        site.memory.publish(primary, vary_marker(now, response_time, until))
    if key == fill.key:
        return fill
    other, won = site.memory.begin_fill(key, since=fill)
    if not won:
        return None
    fill.abort("varies")
    return other


def add_spec(specs: tuple[Spec, ...], spec: Spec) -> tuple[Spec, ...]:
    """The newest first, bounded."""
    return (spec, *(s for s in specs if s != spec))[:MAX_SPECS]
