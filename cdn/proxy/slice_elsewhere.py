"""A slice that no flight of this worker brings: another worker fetches it, or a plain GET keeps it as it passes.

    its fill begins           the record announces what the slice is of; whoever wants bytes of that reads along
    it is given up, or its    everybody looks again: at what was stored meanwhile, or for a flight of their own; who
    worker dies               is in mid-slice asks for it under the same validator, and goes on where it was
    a client sets its pace    followed for PATIENCE seconds; then it is theirs who want it, and not kept as it passes

Decides what the fill's news mean here. It must not know how the slice is fetched.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from cdn.config.values import Route
from cdn.proxy import stored_slices as store
from cdn.proxy.slice_flight import Arriving, SliceFlight
from cdn.proxy.stored_slices import Sliced
from cdn.proxy.verdicts import Again, Asked
from cdn.store import Draft, Fill, FillState
from cdn.tier import OriginError

if TYPE_CHECKING:
    from cdn.proxy.site import Site

PATIENCE = 5.0  # seconds in which a slice that comes at a client's pace has to be there


class SliceElsewhere(SliceFlight):
    def __init__(
        self,
        site: Site,
        route: Route,
        fill: Fill,
        asked: Asked,
        base: bytes,
        number: int,
        known: Sliced | None,
    ) -> None:
        super().__init__(site, route, fill, asked, number, known, False)
        self._base = base

    async def _run(self) -> None:
        fill, memory = self.fill, self.site.memory
        news = asyncio.Event()
        fill.subscribe(news.set)
        try:
            await _while(fill, FillState.WAITING, news)
            record = None if fill.state is FillState.ABORTED else fill.draft
            announced = None if record is None else store.announcement(self._base, record)
            if announced is None or announced.sliced.size != self.size:
                if (
                    record is not None
                ):  # of another making, or cut for another configuration: nobody here can use it
                    memory.void(fill.key)
                self.decide(Again(fill.reason))
                return
            sliced = announced.sliced
            assert isinstance(sliced.shown, Draft)
            self.landed = Arriving(sliced, self.number, fill, sliced.shown, True)
            self.decided.set()
            async with asyncio.timeout(PATIENCE if announced.paced else None):
                await _while(fill, FillState.STREAMING, news)
        except TimeoutError:
            memory.void(fill.key)
            for reader in list(self.readers):
                reader.cut = True
                reader.changed()
        finally:
            fill.unsubscribe(news.set)

    def _fail(self, error: OriginError | None) -> None:
        """The fill is not ours to end."""
        if not self.decided.is_set():
            self.decide(Again(None))


async def _while(fill: Fill, state: FillState, news: asyncio.Event) -> None:
    while fill.state is state:
        news.clear()
        await news.wait()
