"""Fetching one slice on behalf of everybody who wants bytes of it, whatever their ranges are.

Decides what an origin's answer to a slice's request means, and sees it into the store. It must not know clients: they
read from the fill, and what is no slice they take or leave (`slicing`).

    asked --206, the slice-----------------> Arriving   its bytes come in; stored once the last one is there
            304------------------------------> Renewed    what is stored holds
            206 of everything, or a 200------> Instead    WHOLE: one response that is stored under the URL
            200 or 416 though If-Range-------> Instead    CHANGED: another representation
            206 that is not what was asked for,
            cannot be joined or stored ------> Instead    UNFIT
            anything else -------------------> Instead    OTHER
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING

from cdn.config.values import Route
from cdn.proxy import stored_slices as store
from cdn.proxy.drafts import draft
from cdn.proxy.flight import Flight
from cdn.proxy.splicing import measured, with_kept
from cdn.proxy.stored_parts import base_of
from cdn.proxy.stored_slices import Sliced
from cdn.proxy.verdicts import OF_THE_REQUEST, Asked, NotStored
from cdn.rules.fields import entity_tag
from cdn.rules.message import ResponseHead
from cdn.rules.outcome import NoStoreReason
from cdn.rules.slices import Slice, as_whole, decide_slice, request_span, validator
from cdn.rules.stored import NO_FLAGS, Stored
from cdn.rules.storing import DontStore, stored_fields
from cdn.rules.validation import freshen, selects, updated_fields
from cdn.store import Draft, Entry, Fill
from cdn.tier import OriginResponse

if TYPE_CHECKING:
    from cdn.proxy.site import Site


class Kind(Enum):
    WHOLE = "whole"
    CHANGED = "changed"
    UNFIT = "unfit"
    OTHER = "other"


@dataclass(slots=True)
class Arriving:
    """A slice of `sliced` is arriving in `fill`. `mine` has the fields that are for the leader's client only."""

    sliced: Sliced
    number: int
    fill: Fill
    mine: Draft
    aged: bool  # the response had an Age already: it came from a cache


@dataclass(slots=True)
class Renewed:
    """What is stored, as a 304 left it; `reason` where it may not be used again."""

    sliced: Sliced
    reason: NoStoreReason | None


@dataclass(slots=True)
class Instead(NotStored):
    """An answer that is no slice, for the leader alone. `request_time` and `response_time` are the response's."""

    kind: Kind = Kind.OTHER
    request_time: int = 0
    response_time: int = 0


class Completed(OriginResponse):
    """A 206 that brings every byte, as the 200 it is cut from."""

    def __init__(self, response: OriginResponse) -> None:
        self.head = as_whole(response.head)
        self.length = response.length
        self.delimited_by_close = False
        self.server = response.server
        self.connect_ms = response.connect_ms
        self.first_byte_ms = response.first_byte_ms
        self._response = response

    @property
    def complete(self) -> bool:
        return self._response.complete

    async def read(self) -> bytes:
        return await self._response.read()

    def abort(self) -> None:
        self._response.abort()


class SliceFlight(Flight):
    """`known` is what the slice was asked to be of, None where nothing is known; `validating`: it is stored."""

    def __init__(
        self,
        site: Site,
        route: Route,
        fill: Fill,
        asked: Asked,
        number: int,
        known: Sliced | None,
        validating: bool,
    ) -> None:
        super().__init__(site, route, fill, asked)
        self.number = number
        self.size = site.slice
        self.known = known
        self.validating = validating
        self.landed: Arriving | Renewed | None = None

    async def digest(self, response: OriginResponse, request_time: int, response_time: int) -> None:
        head, known = response.head, self.known
        if head.status == 304 and self.validating and known is not None:
            if self._renewed(known, head, request_time, response_time):
                return
            self._instead(Kind.UNFIT, response, NoStoreReason.STATUS, request_time, response_time)
        elif head.status == 206:
            await self._partial(response, request_time, response_time)
        elif head.status == 200:
            kind = Kind.WHOLE if known is None or self.validating else Kind.CHANGED
            if known is None:
                self.site.hindsight.unsliceable(self.asked.primary, without_ranges=True)
            self._changed(kind, response, NoStoreReason.PARTIAL, request_time, response_time)
        elif head.status == 416 and known is not None:
            self._changed(Kind.CHANGED, response, NoStoreReason.STATUS, request_time, response_time)
        else:
            self._instead(Kind.OTHER, response, NoStoreReason.STATUS, request_time, response_time)

    async def _partial(self, response: OriginResponse, request_time: int, response_time: int) -> None:
        response = measured(response)
        asked, head, known = self.asked, response.head, self.known
        if known is not None and _repeats(head, known.stored):
            # What answers If-Range need not say again what the asker knows (RFC 9110 §15.3.7).
            head = ResponseHead(206, with_kept(head.fields, known.stored), head.reason, head.version)
        span = request_span(self.number, self.size)
        made = decide_slice(
            asked.request,
            head,
            self.route.cache,
            span,
            request_time=request_time,
            response_time=response_time,
        )
        if isinstance(made, DontStore):
            self._unfit(response, made.reason, request_time, response_time)
            return
        if response.length != made.last - made.first + 1:
            self._unfit(response, NoStoreReason.PARTIAL, request_time, response_time)
            return
        if made.whole and self._plain(response):
            whole = Completed(response)
            self._instead(Kind.WHOLE, whole, NoStoreReason.PARTIAL, request_time, response_time)
            return
        sliced = self._representation(made, head)
        lies = sliced is not None and known is not None and sliced.validator == known.validator
        if sliced is None or (lies and known is not None and sliced.length != known.length):
            self._unfit(response, NoStoreReason.PARTIAL, request_time, response_time)
            return
        if made.length > self.site.config.limits.object:
            self._unfit(response, NoStoreReason.TOO_LARGE, request_time, response_time)
            return
        fill = self._fill_under(sliced.base)
        if fill is None:
            self._instead(Kind.UNFIT, response, NoStoreReason.PARTIAL, request_time, response_time)
            return
        record = store.announced(sliced)
        if not fill.start(record, response.length):
            # No room for it now: it goes past the store, to those who wait for it.
            fill.detach(NoStoreReason.NO_SPACE.value)
            fill.start(record, response.length)
            self.overflow.begin(0)
        self.landed = Arriving(
            sliced, self.number, fill, self._mine(made, head, response_time), "age" in head.fields
        )
        self.decided.set()
        await self._stream(response, fill, self.size)

    def _representation(self, made: Slice, head: ResponseHead) -> Sliced | None:
        """What the slice is of; None where nothing proves that another slice is of the same."""
        proof = validator(made.stored)
        if proof is None or (self.route.compress and not proof.startswith('"')):
            return None  # all codings of a resource have the same date
        if not proof.startswith('"') and "date" not in head.fields:
            return None  # a Date of our own proves nothing of the origin's clock
        asked = self.asked
        base = base_of(self.site, asked.request, asked.primary, made.stored, asked.specs)
        stored = made.stored.with_body(made.length)
        shown = draft(made.stored, self.route.headers.response, old_origin=head.version < (1, 1))
        token = None
        if self.known is not None and self.known.base == base and self.known.validator == proof:
            token = self.known.token
        return Sliced(base, shown, stored, made.length, self.size, proof, token)

    def _mine(self, made: Slice, head: ResponseHead, response_time: int) -> Draft:
        """The client gets every field; what is only for it (`private="name"`) is not in the store."""
        whole = stored_fields(head.fields.without(("content-range",)), frozenset(), response_time)
        fields = whole.plus(line for line in made.stored.fields if line[0].lower() not in whole)
        mine = replace(made.stored, fields=fields)
        return draft(mine, self.route.headers.response, old_origin=head.version < (1, 1))

    def _plain(self, response: OriginResponse) -> bool:
        """Whether the whole would be stored as it comes: where the route would code it, its slices stay uncoded."""
        return self.site.coders.plan(self.route, self.asked.request, Completed(response)).flags == NO_FLAGS

    def _fill_under(self, base: bytes) -> Fill | None:
        """The fill that the slice belongs in: a variant's key is known only now. None: somebody fills that already."""
        key = store.slice_key(base, self.number)
        if key == self.fill.key:
            return self.fill
        fill, won = self.site.memory.begin_fill(key, since=self.fill)
        if not won:
            return None
        self.fill.abort("varies")
        self.fill = fill
        self.site.flights[key] = self
        self.keys.append(key)
        return fill

    def _renewed(self, known: Sliced, head: ResponseHead, request_time: int, response_time: int) -> bool:
        if not selects(known.stored, head, response_time // 1000):
            return False
        stored = freshen(
            known.stored,
            self.asked.request,
            head,
            self.route.cache,
            request_time=request_time,
            response_time=response_time,
        )
        purged, old_origin = self.fill.purged, head.version < (1, 1)
        self.fill.abort("validated")
        edits, memory = self.route.headers.response, self.site.memory
        if isinstance(stored, DontStore):
            store.drop_list(memory, known.base)
            shown = replace(known.stored, fields=updated_fields(known.stored, head, response_time))
            record = draft(shown, edits, old_origin=old_origin)
            self._renewed_as(replace(known, shown=record, stored=shown), stored.reason)
            return True
        record = draft(stored, edits, self.fill.stamp, old_origin=old_origin)
        published = None
        if not purged and isinstance(known.shown, Entry):
            published = memory.republish(known.shown, record)
        now = replace(known, shown=published or record, stored=stored.with_body(known.length))
        self._renewed_as(now, NoStoreReason.PURGED if purged else None)
        return True

    def _renewed_as(self, sliced: Sliced, reason: NoStoreReason | None) -> None:
        self.landed = Renewed(sliced, reason)
        self.decided.set()

    def _unfit(
        self, response: OriginResponse, reason: NoStoreReason, request_time: int, response_time: int
    ) -> None:
        """For a while nobody asks for slices of this URL again, unless it lay in the one request."""
        if reason not in OF_THE_REQUEST:
            self.site.hindsight.unsliceable(self.asked.primary)
            if self.known is not None and reason is NoStoreReason.PARTIAL:
                store.drop(self.site.memory, self.known.base)
        self._instead(Kind.UNFIT, response, reason, request_time, response_time)

    def _changed(
        self,
        kind: Kind,
        response: OriginResponse,
        reason: NoStoreReason,
        request_time: int,
        response_time: int,
    ) -> None:
        """What is stored of another representation, or of one that is not to be had in slices any more, goes."""
        memory, known = self.site.memory, self.known
        held = None if known is None else store.load(memory, known.base, known.size)
        if held is not None and known is not None and held.same_as(known):
            store.drop(memory, known.base)
        self._instead(kind, response, reason, request_time, response_time)

    def _instead(
        self,
        kind: Kind,
        response: OriginResponse,
        reason: NoStoreReason,
        request_time: int,
        response_time: int,
    ) -> None:
        self.decide(Instead(response, reason, response.head, False, kind, request_time, response_time))
        if not self.leader:
            self.fill.abort(reason.value)

    def committed(self, fill: Fill) -> None:
        """A slice takes nobody's place."""

    def commit(self, fill: Fill) -> Entry | None:
        """The slice has come in whole."""
        assert isinstance(self.landed, Arriving)
        asked = self.asked
        held = store.admit(self.site, self.route, asked.request, asked.primary, self.landed.sliced, fill)
        if held is None:
            fill.detach(NoStoreReason.PURGED.value)
            return fill.commit()
        self.landed.sliced = replace(self.landed.sliced, token=held.token)
        return fill.commit(**store.settled(held))


def _repeats(head: ResponseHead, stored: Stored) -> bool:
    """Whether a response names the stored one's validator."""
    if stored.etag is not None:
        return entity_tag(head.fields) == stored.etag
    return "etag" not in head.fields and head.fields.all("last-modified") == stored.fields.all(
        "last-modified"
    )
