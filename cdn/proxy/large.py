"""Answering from a long body on disk while it is read: only what may be used as it is, everything else needs memory.

Decides which of the bodies that were found is meant and whether it is served from where it lies. Must not know files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdn.config.values import CachePolicy, Route
from cdn.proxy.disk import DiskTier
from cdn.proxy.drafts import draft, soft_window, stored_in
from cdn.proxy.lookup import log_hash
from cdn.proxy.redeciding import judged
from cdn.proxy.source import FillError, Source
from cdn.rules.message import RequestHead
from cdn.rules.outcome import Outcome
from cdn.rules.stored import MetaError, Stored
from cdn.rules.use import Decision, decide_use
from cdn.store import Draft, RecordFlag
from cdn.store.disk.tier import ColdError, Loaded, LostError

if TYPE_CHECKING:
    from cdn.proxy.exchange import Exchange


class LargeSource(Source):
    """A body on disk, every block of it verified before it is given out; a bad one cuts the client off."""

    def __init__(self, tier: DiskTier, loaded: Loaded, shown: Draft, stored: Stored) -> None:
        self.stored = stored
        self.status = shown.status
        self.head = shown.head
        self.status_line_len = shown.status_line_len
        self.lines_304 = shown.lines_304
        self.no_body = bool(shown.flags & RecordFlag.NO_BODY)
        self.old_origin = bool(shown.flags & RecordFlag.OLD_ORIGIN)
        self.length = loaded.length
        self.key_hash = log_hash(loaded.key)
        self._tier = tier
        self._loaded = loaded

    async def read(self, offset: int, n: int) -> bytes:
        on_disk = self._loaded.stored
        assert on_disk is not None
        data: bytes | None
        try:
            return on_disk.read(offset, n, now=True)
        except ColdError:
            data = await self._tier.in_thread(lambda: on_disk.read(offset, n))
        except LostError:
            data = None
        if data is None:
            raise FillError("the stored body cannot be read")
        return data

    def close(self) -> None:
        return


async def served(
    exchange: Exchange, route: Route, policy: CachePolicy, request: RequestHead, large: dict[bytes, Loaded]
) -> bool:
    """Answer from the newest of these, or have it in memory if that is what it takes. False: look again."""
    tier = exchange.site.disk
    assert tier is not None
    best: tuple[Loaded, Stored] | None = None
    for loaded in large.values():
        try:
            stored = stored_in(loaded.draft, loaded.length)
        except MetaError:
            exchange.site.memory.remove(loaded.key)
            continue
        if best is None or stored.date > best[1].date:
            best = loaded, stored
    if best is None:
        return False
    loaded, stored = best
    shown = loaded.draft
    if not exchange.site.purges.current(shown.stamp or 0, loaded.key):
        again = judged(exchange.site, route, policy, request, loaded.key, shown.stamp or 0, stored)
        if again is None:
            exchange.site.memory.remove(loaded.key)
            return False
        old = bool(shown.flags & RecordFlag.OLD_ORIGIN)
        shown = draft(again, route.headers.response, shown.stamp, old_origin=old)
        stored = soft_window(again.with_body(loaded.length))
    use = decide_use(request, stored, policy, exchange.site.clock.now())
    if use.decision is not Decision.SERVE:
        await tier.into_memory(loaded)
        return False
    await exchange.serve(request, LargeSource(tier, loaded, shown, stored), Outcome.HIT)
    return True
