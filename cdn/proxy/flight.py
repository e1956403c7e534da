"""A flight: one request to an origin on behalf of everybody who asks for the same key.

Decides how an origin's response becomes a stored one: it asks the rules once the head is there, publishes, streams the
body into the fill, and tells all who wait. It is a task of its own, so a client that leaves takes nobody with it. It
must not know clients: they read from the fill.

    asked --head--> NotStored   the head forbids storing: the leader takes the response, the others go on their own
                    Streaming   the body is arriving in the fill; whoever matches its Vary may read along
                    Validated   304: the stored record was renewed
                    Broken      the origin failed, or answered with an error that a stale response is better than
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cdn.config.values import Route
from cdn.proxy import stored_parts, stored_slices
from cdn.proxy.coding import CodedBody
from cdn.proxy.content import fetch
from cdn.proxy.drafts import draft
from cdn.proxy.interim import Interims
from cdn.proxy.lookup import log_hash, variant_key
from cdn.proxy.placing import place
from cdn.proxy.slice_tee import kept_in_slices
from cdn.proxy.source import FillSource, Overflow
from cdn.proxy.splicing import received
from cdn.proxy.verdicts import OF_THE_REQUEST, Asked, Broken, NotStored, Streaming, Validated, Verdict
from cdn.rules.message import Fields, ResponseHead
from cdn.rules.outcome import NoStoreReason
from cdn.rules.stored import Stored
from cdn.rules.storing import DontStore, decide_store, ends_older, stored_fields
from cdn.rules.use import is_error
from cdn.rules.validation import freshen, select_variant, selects, updated_fields
from cdn.rules.vary import key_extras
from cdn.store import Draft, Entry, Fill, FillState
from cdn.tier import Kind, OriginError, OriginResponse

if TYPE_CHECKING:
    from cdn.proxy.site import Site

COPIED = 1 << 20  # bytes of a variant's body that are stored a second time at most
STARVING = 5.0  # seconds that one reader may hold up the others
WINDOW = 1 << 20  # bytes of an oversize body that may wait for its slowest reader


def conditional(fields: Fields) -> bool:
    """Whether a request with these fields may be answered with a 304."""
    return "if-none-match" in fields or "if-modified-since" in fields


class Flight:
    """`decided` is set once `verdict` is there. `leader` tells whether somebody waits who may take the response."""

    recalled = False  # what it brings was stored before: no answer to who wants the origin asked

    def __init__(self, site: Site, route: Route, fill: Fill, asked: Asked) -> None:
        self.site = site
        self.route = route
        self.fill = fill
        self.keys = [fill.key]  # that it is registered under
        self.asked = asked
        self.leader = False
        self.decided = asyncio.Event()
        self.interims = Interims(asked.fields)
        self.verdict: Verdict | None = None
        self.boarded = 0  # exchanges that wait for the verdict, or read
        self.expected = False  # an exchange that will is on its way from another lane
        self.overflow = Overflow()
        self.readers: set[FillSource] = set()
        self.server: str | None = None
        self.first_byte_us: int | None = None
        self._moved = asyncio.Event()

    def decide(self, verdict: Verdict) -> None:
        self.verdict = verdict
        self.decided.set()

    async def run(self) -> None:
        """Never raises but for cancellation; however it ends, nobody is left waiting."""
        await self._guarded(self._run())

    async def run_with(self, response: OriginResponse, request_time: int, response_time: int) -> None:
        """The same for a response that was fetched already."""
        await self._guarded(self._digested(response, request_time, response_time))

    async def carry_on(self, response: OriginResponse) -> None:
        """Store what is left of the body that has begun; whoever began it has told its head."""
        await self._guarded(self._rest(response))

    async def _rest(self, response: OriginResponse) -> None:
        try:
            await self._stream(response, self.fill, self.site.config.limits.object)
        finally:
            response.abort()

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except OriginError as error:
            self.site.counters.origin(self.route.origin)["errors"] += 1
            self._fail(error)
        except asyncio.CancelledError:
            self._fail(None)
            raise
        except Exception as fault:
            self.site.fault("flight", fault)
            self._fail(None)

    def _fail(self, error: OriginError | None) -> None:
        self.fill.abort(NoStoreReason.TRUNCATED.value)
        if self.verdict is None:
            self.decide(Broken(error, None))

    async def _run(self) -> None:
        request_time = self.site.clock.now()
        response = await self._ask(self.asked.fields)
        await self._digested(response, request_time, self.site.clock.now())

    async def _ask(self, fields: Fields) -> OriginResponse:
        """Send the request out, with these fields. OriginError."""
        asked = self.asked
        if asked.attempt is not None:
            self.asked = replace(asked, attempt=None)  # for this once
        response = await fetch(
            self.site,
            asked.content,
            self.route,
            asked.request,
            fields,
            asked.query,
            peer=asked.peer,
            trusted=asked.trusted,
            on_interim=self.interims.hear,
            attempt=asked.attempt,
        )
        self.server = response.server
        self.first_byte_us = int(response.first_byte_ms * 1000)
        return response

    async def _digested(self, response: OriginResponse, request_time: int, response_time: int) -> None:
        try:
            await self.digest(response, request_time, response_time)
        finally:
            verdict = self.verdict
            taken = verdict.answer if isinstance(verdict, Broken) else verdict
            if not (isinstance(taken, NotStored) and self.leader):
                response.abort()

    async def digest(self, response: OriginResponse, request_time: int, response_time: int) -> None:
        """From the response's head to a verdict, then the body into the store."""
        site, asked, policy = self.site, self.asked, self.route.cache
        head = response.head
        if head.status == 304 and (asked.known is not None or asked.candidates):
            known = asked.known or self._selected(head, response_time)
            if known is not None and self._validated(known, head, request_time, response_time):
                return
            # A 304 for something else: nobody can be answered with it. Ask again without conditions.
            response.abort()
            again = replace(
                asked,
                known=None,
                candidates=[],
                fields=asked.fields.without(("if-none-match", "if-modified-since")),
            )
            self.asked = again
            await self._run()
            return
        if head.status == 304 and not conditional(asked.fields):
            raise OriginError(Kind.MALFORMED, "a 304 that nobody asked for", server=response.server)
        if asked.completion is not None and head.status in (206, 416):
            whole = asked.completion.whole(asked.request, response, policy, request_time, response_time)
            if whole is None:
                # Not the bytes that are missing: nothing can be made of it. Ask again for everything.
                response.abort()
                everything = asked.fields.without(("range", "if-range"))
                self.asked = replace(asked, completion=None, fields=everything)
                await self._run()
                return
            response, head = whole, whole.head
        failed = is_error(head.status) and asked.known is not None
        plan = site.coders.plan(self.route, asked.request, response)
        decision = decide_store(
            asked.request, plan.head, policy, request_time=request_time, response_time=response_time
        )
        if isinstance(decision, DontStore):
            self._not_stored(response, decision.reason, head, failed)
            return
        if response.delimited_by_close:
            self._not_stored(response, NoStoreReason.CLOSE_DELIMITED, head, failed)
            return
        decision = replace(decision, flags=decision.flags | plan.flags)
        fill = self._fill_for(decision)
        limit = site.config.limits.object
        if fill is None or (response.length or 0) > limit:
            self._not_stored(
                response, NoStoreReason.TOO_LARGE if fill else NoStoreReason.NO_SPACE, head, failed
            )
            return
        if not fill.start(self._record(decision, head), None if plan.coding else response.length):
            reason = NoStoreReason.NO_SPACE
            if response.length is not None and response.length > site.memory.largest:
                reason = NoStoreReason.TOO_LARGE
                response = self._in_slices(decision, response)
            self._not_stored(response, reason, head, failed)
            return
        streaming = Streaming(
            fill,
            decision,
            decision.vary,
            key_extras(decision.vary, asked.request.fields),
            log_hash(fill.key),
            "age" in head.fields,
            self._for_leader(decision, plan.head, response_time),
        )
        site.equivalents.learn(asked.request, asked.query, asked.primary, decision.fields)
        self.decide(Broken(None, streaming) if failed else streaming)
        if plan.coding is None:
            await self._stream(response, fill, limit)
            return
        coded = site.coders.encode(response, plan.coding)
        try:
            await self._stream(response, fill, limit, coded)
        finally:
            coded.close()

    def _in_slices(self, decision: Stored, response: OriginResponse) -> OriginResponse:
        """For the leader's client alone; what the store has no room for in one piece may be kept in many."""
        kept = kept_in_slices(self.site, self.route, self.asked, self.fill, decision, response)
        return response if kept is None else kept

    def _for_leader(self, decision: Stored, head: ResponseHead, response_time: int) -> Draft | None:
        whole = stored_fields(head.fields, frozenset(), response_time)
        if whole == decision.fields:
            return None
        return self._record(replace(decision, fields=whole), head)

    def _record(self, decision: Stored, head: ResponseHead, stamp: int | None = None) -> Draft:
        return draft(decision, self.route.headers.response, stamp, old_origin=head.version < (1, 1))

    def _validated(
        self, known: tuple[Entry, Stored], head: ResponseHead, request_time: int, response_time: int
    ) -> bool:
        entry, stored = known
        if not selects(stored, head, response_time // 1000):
            return False
        site = self.site
        renewed = freshen(
            stored,
            self.asked.request,
            head,
            self.route.cache,
            request_time=request_time,
            response_time=response_time,
        )
        purged = self.fill.purged
        self.fill.abort("validated")
        if isinstance(renewed, DontStore):
            site.memory.remove(entry.key)
            shown = replace(stored, fields=updated_fields(stored, head, response_time))
            self.decide(Validated(entry, shown, renewed.reason))
            return True
        if purged:
            # The purge came while the origin was asked: its 304 is older than that.
            self.decide(Validated(entry, renewed.with_body(entry.body_length), NoStoreReason.PURGED))
            return True
        record = self._record(renewed, head, self.fill.stamp)
        published = site.memory.republish(entry, record)
        site.equivalents.learn(self.asked.request, self.asked.query, self.asked.primary, renewed.fields)
        if self.fill.key != entry.key and entry.body_length <= COPIED:
            # The origin chose a stored variant for other values than its own: it lies under both from now on. Not under
            # the flight's key: that may be of another specification, which other requests match too.
            extras = key_extras(renewed.vary, self.asked.request.fields)
            key = variant_key(self.asked.primary, renewed.vary, extras)
            site.memory.publish(key, record, entry.read())
            until = max(renewed.fresh_until, renewed.swr_until, renewed.sie_until)
            site.variants.filled(self.asked.primary, key, renewed.vary, renewed.response_time, until)
        self.decide(Validated(published or entry, renewed.with_body(entry.body_length), None))
        return True

    def _selected(self, head: ResponseHead, response_time: int) -> tuple[Entry, Stored] | None:
        """The variant that a 304 speaks of (RFC 9111 §4.3.4)."""
        chosen = select_variant([stored for _, stored in self.asked.candidates], head, response_time // 1000)
        return next((pair for pair in self.asked.candidates if pair[1] is chosen), None)

    def _not_stored(
        self, response: OriginResponse, reason: NoStoreReason, head: ResponseHead, failed: bool
    ) -> None:
        """The waiting go on their own at once; for a while nobody waits for this key again."""
        answers_fields = head.status in (206, 304, 412, 416)  # says nothing about the plain request
        if not (failed or answers_fields or reason in OF_THE_REQUEST or reason is NoStoreReason.NO_SPACE):
            self.site.hindsight.predict(self.asked.primary, reason)
        if self.asked.known is not None and not failed and ends_older(head.status, reason):
            # Not removed: who asks next is joined by others while the origin is asked, so one odd answer costs little.
            entry, stored = self.asked.known
            ended = self._record(stored.ended(self.site.clock.now()), head, entry.stamp)
            self.site.memory.republish(entry, replace(ended, flags=entry.flags))
        self.fill.abort(reason.value)
        answer = NotStored(response, reason, head)
        self.decide(Broken(None, answer) if failed else answer)

    def _fill_for(self, decision: Stored) -> Fill | None:
        """The fill this response belongs in: our own, or for a variant one under the variant's key.

        None: that variant is being filled by somebody else.
        """
        site, asked = self.site, self.asked
        if not decision.vary and not asked.specs:
            return self.fill
        key = variant_key(asked.primary, decision.vary, key_extras(decision.vary, asked.request.fields))
        until = max(decision.fresh_until, decision.swr_until, decision.sie_until)
        fill = place(site, self.fill, asked.primary, key, decision.vary, decision.response_time, until)
        if fill is not None and fill is not self.fill:
            self.moved(fill)
        return fill

    def moved(self, fill: Fill) -> None:
        """It fills a variant of what it was sent out for."""
        self.fill = fill
        self.site.flights[fill.key] = self
        self.keys.append(fill.key)

    async def _stream(
        self, response: OriginResponse, fill: Fill, limit: int, coded: CodedBody | None = None
    ) -> None:
        """The body into the store; what turns out too large for it goes through a bounded window instead."""
        count = self.site.counters.origin(self.route.origin)
        while True:
            data = await (response if coded is None else coded).read()
            count["bytes"] += received(response, data) if coded is None else coded.taken()
            if not data:
                break
            if not fill.detached:
                if fill.arrived + len(data) > limit:
                    fill.detach(NoStoreReason.TOO_LARGE.value)
                elif fill.write(data):
                    continue
                else:
                    fill.detach(NoStoreReason.NO_SPACE.value)
                self.overflow.begin(fill.arrived)
            self.overflow.add(data)
            self.wake_readers()
            if not await self._room(fill):
                response.abort()
                fill.abort("no-readers")
                return
        if not response.complete:
            fill.abort(NoStoreReason.TRUNCATED.value)
            return
        if fill.detached:
            self.overflow.ended = True
            self.wake_readers()
        elif self.commit(fill) is not None:
            self.committed(fill)

    def commit(self, fill: Fill) -> Entry | None:
        """The body has come in whole: publish it."""
        return fill.commit()

    def committed(self, fill: Fill) -> None:
        """The response is stored: it takes the place of parts, its variant's and, where it varies, the URL's own."""
        for base in {fill.key, self.asked.primary}:
            stored_parts.drop(self.site.memory, self.asked.primary, base)
            stored_slices.drop(self.site.memory, base)

    def wake_readers(self) -> None:
        for reader in self.readers:
            reader.changed()

    async def _room(self, fill: Fill) -> bool:
        """Wait until the window has room. False: nobody reads any more.

        The slowest reader sets the pace, unless it stands still while others starve: then it is cut.
        """
        while True:
            if not self.readers and not self.boarded and not self.expected:
                return False
            slowest = min((reader.position for reader in self.readers), default=0)
            fill.release_before(min(slowest, fill.arrived))
            self.overflow.release_before(slowest)
            if self.overflow.size < WINDOW:
                return True
            self._moved.clear()
            try:
                await asyncio.wait_for(self._moved.wait(), STARVING)
            except TimeoutError:
                still = [reader for reader in self.readers if reader.position <= slowest]
                if len(still) < len(self.readers):
                    for reader in still:
                        reader.cut = True
                        reader.changed()
                        self.readers.discard(reader)

    def drop(self) -> None:
        """The leader does not want the response that was kept for it."""
        verdict = self.verdict
        answer = verdict.answer if isinstance(verdict, Broken) else verdict
        if isinstance(answer, NotStored) and not answer.claimed and answer.response is not None:
            answer.response.abort()

    def source(self, streaming: Streaming, shown: Draft | None, beside: bool = False) -> FillSource:
        """What one more reads from; `shown`: what only it gets to see of the head. `beside`: it did not ask first."""
        source = FillSource(streaming.fill, streaming.stored, streaming.key_hash, shown, self.overflow)
        source.aged = streaming.aged
        source.beside = beside
        self.joined(source)
        return source

    def joined(self, source: FillSource) -> None:
        self.readers.add(source)
        source.flight = self
        source.on_read = self._moved.set
        source.keep()

    def left(self, source: FillSource) -> None:
        """It may have gone on to another flight meanwhile."""
        flight = source.flight or self
        flight.readers.discard(source)
        flight._moved.set()

    def let_go(self) -> None:
        """Hold nothing of what it has stored, for those who come yet; they look again."""
        self.fill.release()

    @property
    def streaming(self) -> bool:
        return self.fill.state is FillState.STREAMING
