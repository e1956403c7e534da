"""A flight of another worker, as the exchanges of this one see it: they follow its fill in the shared store.

    the fill begins to stream   the verdict is what its record says; whoever matches its Vary reads along
    it is given up before       everybody looks again: at what was stored meanwhile, or for a flight of their own
    its worker dies             so too, but those in mid-body go on from the next flight if that brings the same
                                bytes by a strong entity-tag (RFC 9110 §8.8.3) and their length, and are cut otherwise

Decides what the fill's news mean here. It must not know how the other worker asks its origin.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from cdn.proxy.drafts import stored_of_draft
from cdn.proxy.flight import Flight
from cdn.proxy.lookup import log_hash
from cdn.proxy.source import FillSource
from cdn.proxy.verdicts import Again, Streaming, Validated
from cdn.rules.conditional import is_strong
from cdn.rules.stored import MetaError, Stored
from cdn.rules.validation import fill_fields
from cdn.rules.vary import key_extras
from cdn.store import Entry, FillState


class Elsewhere(Flight):
    _succession: asyncio.Task[Flight | Entry | None] | None = None

    async def _run(self) -> None:
        fill = self.fill
        news = asyncio.Event()
        fill.subscribe(news.set)
        try:
            while fill.state is FillState.WAITING:
                news.clear()
                await news.wait()
            draft = None if fill.state is FillState.ABORTED else fill.draft
            stored: Stored | None = None
            if draft is not None:
                try:
                    stored = stored_of_draft(draft)
                except MetaError:
                    pass  # not of this version's making: fetched anew
            if stored is None:
                self.decide(Again(fill.reason))
                return
            # Its key says which values of those fields it was asked with: those of whoever asks for that key.
            extras = key_extras(stored.vary, self.asked.request.fields)
            self.decide(Streaming(fill, stored, stored.vary, extras, log_hash(fill.key), True, None))
            while fill.state is FillState.STREAMING:
                news.clear()
                await news.wait()
        finally:
            fill.unsubscribe(news.set)

    async def successor(self) -> Flight | Entry | None:
        """From where those in mid-body go on; None: from nowhere."""
        if not (self.fill.lost or self.fill.detached):
            return None
        if self._succession is None:
            self._succession = self.site.spawn(self._succeed())
        return await asyncio.shield(self._succession)

    async def _succeed(self) -> Flight | Entry | None:
        site, key = self.site, self.fill.key
        entry = site.memory.lookup(key)
        if (
            entry is not None
            and entry.etag is not None
            and self._same(entry.etag.decode("latin-1"), entry.body_length)
        ):
            return entry
        request = self.asked.request
        asked = replace(self.asked, known=None, candidates=[], fields=fill_fields(request.fields))
        flight, _ = site.board(self.route, key, lambda: asked)
        flight.boarded += 1
        try:
            await flight.decided.wait()
        finally:
            flight.boarded -= 1
        verdict = flight.verdict
        if isinstance(verdict, Streaming) and self._same(verdict.stored.etag, verdict.fill.length):
            return flight
        if isinstance(verdict, Validated) and self._same(verdict.stored.etag, verdict.entry.body_length):
            return verdict.entry
        return None

    def _same(self, etag: str | None, length: int | None) -> bool:
        verdict = self.verdict
        assert isinstance(verdict, Streaming)
        return (
            is_strong(etag)
            and etag == verdict.stored.etag
            and length is not None
            and length == self.fill.length
        )

    def let_go(self) -> None:
        super().let_go()
        if self._succession is not None and self._succession.done():
            self._succession = None

    def joined(self, source: FillSource) -> None:
        super().joined(source)
        source.successor = self.successor
