"""Which slices of a representation are stored, in memory or on disk.

Looks without holding up others, however many there are. Must not know requests, nor what becomes of what is missing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from cdn.proxy import stored_slices as store
from cdn.proxy.stored_slices import Sliced
from cdn.rules import slices
from cdn.rules.ranges import Range

if TYPE_CHECKING:
    from cdn.proxy.site import Site

AT_ONCE = 512  # slices that are looked up before others have their turn


def first(held: Sliced, spans: Sequence[Range]) -> int:
    """The slice that is sent first."""
    return slices.number_of(spans[0][0], held.size)


async def missing(site: Site, held: Sliced, spans: Iterable[Range]) -> int | None:
    """The first slice that is not there, in the order in which they are sent."""
    looked = 0
    for span in spans:
        for number in held.numbers(span):
            if held.slice(site.memory, number) is None and not _on_disk(site, held, number):
                return number
            looked += 1
            if looked % AT_ONCE == 0:
                await asyncio.sleep(0)
    return None


async def mostly(site: Site, held: Sliced) -> bool:
    """Whether more than half of all is in memory."""
    all_of_it = held.numbers((0, held.length - 1))
    there = 0
    for number in all_of_it:
        there += held.slice(site.memory, number) is not None
        if number % AT_ONCE == AT_ONCE - 1:
            await asyncio.sleep(0)
    return 2 * there >= len(all_of_it)


def _on_disk(site: Site, held: Sliced, number: int) -> bool:
    """It comes from there when it is read; should it be damaged, it is fetched then."""
    return site.disk is not None and site.disk.has(store.slice_key(held.base, number))
