"""Where a response that varies is stored: under its variant's key, with a marker under its URL's that says so.

Decides nothing about the response; the rules have said by which fields it varies. Must not know who fetched it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdn.rules.vary import Spec
from cdn.store import Fill

if TYPE_CHECKING:
    from cdn.proxy.site import Site


def place(
    site: Site,
    fill: Fill,
    primary: bytes,
    key: bytes,
    vary: Spec,
    response_time: int,
    until: int,
) -> Fill | None:
    """The fill for the variant `key` of `primary` in the place of `fill`, whose request brought it.

    `until` is when the response is of no use any more, node time. Whoever waits at the URL's own key looks again.
    None: that variant is being filled by somebody else.
    """
    site.variants.filled(primary, key, vary, response_time, until)
    if key == fill.key:
        return fill
    other, won = site.memory.begin_fill(key, since=fill)
    if not won:
        return None
    fill.abort("varies")
    return other
