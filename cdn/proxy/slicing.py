"""Ranges of large representations: answering them slice by slice (RFC 9110 §14, RFC 9111 §3.3, §3.4).

    all of it is there, fresh      serve
    all of it is there, stale      ask with the stored validators, one request for everybody; serve what it renews
    the beginning is missing       fetch its first slice with If-Range; the head goes out when its own is there
    more of it is missing          slice by slice, while the client reads
    nothing is known               fetch the slice that the range begins in; it tells validator and length

A change of the representation that shows before our head is out is asked about once more, without If-Range: the client
gets the new one. One that shows later cuts the client. What cannot be fetched in slices is asked for as the client
asked, and remembered for a while. Decides this order; what an origin's answer means is `slice_flight`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING

from cdn.config.values import CachePolicy, Route
from cdn.proxy import parts, parts_keeping, passing, slices_there
from cdn.proxy import stored_slices as store
from cdn.proxy.flight import Flight
from cdn.proxy.following import aboard, decided, follow
from cdn.proxy.lookup import Found
from cdn.proxy.redeciding import decide_again
from cdn.proxy.slice_asking import Asker
from cdn.proxy.slice_flight import Arriving, Instead, Kind, Renewed, SliceFlight
from cdn.proxy.sliced_source import SlicedSource
from cdn.proxy.stored_slices import Sliced
from cdn.proxy.verdicts import Broken
from cdn.rules import ranges, slices
from cdn.rules.message import RequestHead
from cdn.rules.outcome import Outcome
from cdn.rules.ranges import Range
from cdn.rules.stored import Stored
from cdn.rules.use import Decision, decide_use, is_error
from cdn.rules.validation import is_conditional
from cdn.rules.vary import key_extras
from cdn.store import Draft, Entry

if TYPE_CHECKING:
    from cdn.proxy.exchange import Exchange

ROUNDS = 4  # slices that are asked for before the head is out
FETCHED_APART = 4  # slices at most that are fetched for one request of several ranges


class Done(Enum):
    YES = "yes"
    NO = "no"  # slices are of no help: go on as if there were none
    AGAIN = "again"  # somebody else's answer may have changed what is stored: look again


def known(
    exchange: Exchange, route: Route, policy: CachePolicy, request: RequestHead, found: Found
) -> Sliced | None:
    """What is stored in slices for this request, as today's rules judge it."""
    site = exchange.site
    held = store.find(site.memory, found, request, site.slice)
    if held is None or not isinstance(held.shown, Entry):
        return held
    if site.purges.current(held.shown.stamp, held.shown.key):
        return held
    listed = Found(found.primary, held.base, held.shown)
    stored = decide_again(site, route, policy, request, listed, held.shown, held.stored)
    if stored is None or listed.entry is None:
        return None
    return replace(held, shown=listed.entry, stored=stored.with_body(held.length))


async def answered(
    exchange: Exchange,
    route: Route,
    policy: CachePolicy,
    request: RequestHead,
    query: str | None,
    found: Found,
) -> Done:
    """Answer with the help of stored slices."""
    if request.method != "GET" or not policy.slices or parts.speaks_of_codings(route, request):
        return Done.NO
    held = known(exchange, route, policy, request, found)
    if held is None:
        return Done.NO
    answer = _Answer(exchange, route, policy, request, query, found)
    if "range" not in request.fields:
        if await _whole(answer, held):
            return Done.YES
        if held.length <= exchange.site.memory.largest or not await slices_there.mostly(exchange.site, held):
            return Done.NO
        answer.whole = True
    return await answer.run(held)


async def _whole(answer: _Answer, held: Sliced) -> bool:
    """Everything, of what the store has room for in one piece: it is made whole, and is any stored response then."""
    exchange, route, request, found = answer.exchange, answer.route, answer.request, answer.found
    site = exchange.site
    if held.length > min(site.memory.largest, site.config.limits.object):
        return False
    view = store.as_parts(site.memory, held)
    if view is None or (held.stored.etag is None and not view.part.complete):
        return False
    if not await parts.answered_from(exchange, route, answer.policy, request, answer.query, found, view):
        return False
    left = store.load(site.memory, held.base, held.size)
    if left is None or left.token != held.token:
        return True  # the origin was asked, and has something else by now
    view = store.as_parts(site.memory, left)
    if view is not None and view.part.complete:
        parts_keeping.promote(
            site, route, parts_keeping.asked_for(exchange, request, answer.query, found), view
        )
    return True


async def opened(
    exchange: Exchange,
    route: Route,
    policy: CachePolicy,
    request: RequestHead,
    query: str | None,
    found: Found,
) -> Done:
    """A range of which nothing is known: widened to slices where that can be of use to others."""
    site = exchange.site
    if not policy.slices or is_conditional(request) or parts.speaks_of_codings(route, request):
        return Done.NO
    if not site.hindsight.sliceable(found.primary):
        return Done.NO
    if store.find(site.memory, found, request, site.slice) is not None:
        return Done.NO  # and they were of no help
    if slices.opening(request.fields, site.slice) is None or parts.must_not_fetch(
        request, policy, site.clock.now()
    ):
        return Done.NO
    return await _Answer(exchange, route, policy, request, query, found).run(None)


@dataclass(slots=True)
class _Answer:
    exchange: Exchange
    route: Route
    policy: CachePolicy
    request: RequestHead
    query: str | None
    found: Found
    whole: bool = False  # everything is wanted, not a range
    came: int = 0  # when it began to be answered
    healed: bool = False  # a change was noticed and is asked about again

    @property
    def asker(self) -> Asker:
        exchange, found = self.exchange, self.found
        return Asker(
            exchange.site,
            self.route,
            self.request,
            found.primary,
            found.key,
            self.query,
            found.specs,
            exchange.stream.address,
            exchange.trusted,
        )

    async def run(self, held: Sliced | None) -> Done:
        exchange, site = self.exchange, self.exchange.site
        self.came = site.clock.now()
        asker, told = self.asker, False  # told: by the origin, for this request
        for _ in range(ROUNDS):
            validating = False
            if held is None and self.whole:
                return Done.NO
            if held is None:
                number = slices.opening(self.request.fields, site.slice)
                if number is None:
                    return await self._exact()
            else:
                spans = self._spans(held)
                if spans is None:
                    return await self._exact() if told else Done.NO
                use = decide_use(self.request, held.stored, self.policy, site.clock.now())
                fresh = told or use.decision is Decision.SERVE
                missing = await slices_there.missing(site, held, spans)
                if fresh and missing is None:
                    await self._serve(held, spans, held.shown, Outcome.MISS if told else Outcome.HIT)
                    return Done.YES
                if not told:
                    if not self._may_fetch(held, spans, missing, use.decision):
                        return Done.NO
                    if use.decision is Decision.SERVE_STALE_SWR and missing is None:
                        asker.board(slices_there.first(held, spans), held, validating=True)
                        await self._serve(held, spans, held.shown, Outcome.STALE_SWR)
                        return Done.YES
                    exchange.fwd = "partial"
                    if not fresh:
                        exchange.fwd = "request" if use.reason.startswith("request-") else "stale"
                number = slices_there.first(held, spans)
                if fresh and missing is not None and missing > number + 1:
                    await self._serve(held, spans, held.shown, Outcome.MISS)
                    return Done.YES
                if missing is not None and missing <= number + 1:
                    number = missing
                else:
                    validating = True
            flight, leader = asker.board(number, held, validating)
            with aboard(flight, leader):
                await decided(self.exchange, flight, leader)
            landed = flight.landed
            if landed is not None and not leader and not self._is_new(landed.sliced.stored):
                return await self._exact()
            if landed is not None and (leader or self._is_for_us(landed.sliced, flight)):
                if isinstance(landed, Renewed):
                    if await self._renewed(landed):
                        return Done.YES
                elif await self._arriving(flight, landed, leader):
                    return Done.YES
                held, told = landed.sliced, True
                continue
            if isinstance(flight.verdict, Broken):
                await self._broken(flight.verdict, held)
                return Done.YES
            if not leader:
                return await self._after_another(flight)
            assert isinstance(flight.verdict, Instead)
            done = await self._instead(flight, flight.verdict, held)
            if done is not None:
                return done
            held, told = None, False
        return await self._exact()

    # --- what is wanted of it ---

    def _spans(self, held: Sliced) -> Sequence[Range] | None:
        """The bytes that the answer has; None where it is not to be made of slices."""
        if self.whole:
            return [(0, held.length - 1)]
        selected = ranges.select(self.request, held.stored, held.length)
        return selected if isinstance(selected, list) else None

    def _may_fetch(
        self, held: Sliced, spans: Sequence[Range], missing: int | None, decision: Decision
    ) -> bool:
        site = self.exchange.site
        if parts.must_not_fetch(self.request, self.policy, site.clock.now()):
            return False
        if decision not in (Decision.SERVE, Decision.SERVE_STALE_SWR, Decision.VALIDATE):
            return False
        if missing is None:
            return True
        if is_conditional(self.request) or not site.hindsight.sliceable(self.found.primary):
            return False
        if len(spans) == 1:
            return True
        apart = {number for span in spans for number in held.numbers(span)}
        if len(apart) > slices_there.AT_ONCE:
            return False
        return sum(held.slice(site.memory, number) is None for number in apart) <= FETCHED_APART

    def _is_new(self, stored: Stored) -> bool:
        """Whether what somebody else was told is an answer to us: it came since we did, or it is fresh still."""
        if stored.response_time >= self.came:
            return True
        now = self.exchange.site.clock.now()
        return decide_use(self.request, stored, self.policy, now).decision is Decision.SERVE

    def _is_for_us(self, sliced: Sliced, flight: SliceFlight) -> bool:
        vary = sliced.stored.vary
        return key_extras(vary, self.request.fields) == key_extras(vary, flight.asked.request.fields)

    # --- answers ---

    async def _serve(
        self,
        held: Sliced,
        spans: Sequence[Range],
        shown: Entry | Draft,
        outcome: Outcome,
        first: SliceFlight | None = None,
        aged: bool = True,
    ) -> None:
        if isinstance(held.shown, Entry):
            held.shown.touch(self.exchange.site.clock.now())
        source = SlicedSource(self.asker, held, spans, shown, first)
        source.aged = aged
        try:
            await self.exchange.serve(self.request, source, outcome)
        finally:
            source.close()

    async def _arriving(self, flight: SliceFlight, landed: Arriving, leader: bool) -> bool:
        """Serve, if what arrives is of the answer. False: it only told what the answer is of."""
        held = landed.sliced
        spans = self._spans(held)
        if spans is None or not any(landed.number in held.numbers(span) for span in spans):
            return False
        outcome = Outcome.MISS if leader else Outcome.COLLAPSED
        if leader and landed.fill.detached:
            self.exchange.entry.no_store = landed.fill.reason
        shown = landed.mine if leader else held.shown
        first = flight if landed.number == slices_there.first(held, spans) else None
        await self._serve(held, spans, shown, outcome, first, landed.aged)
        return True

    async def _renewed(self, landed: Renewed) -> bool:
        held, entry = landed.sliced, self.exchange.entry
        spans = self._spans(held)
        if spans is None:
            return False
        entry.no_store = landed.reason.value if landed.reason else None
        await self._serve(held, spans, held.shown, Outcome.REVALIDATED)
        return True

    async def _exact(self) -> Done:
        """As the client asked."""
        await parts.fetch_range(self.exchange, self.route, self.request, self.query, self.found)
        return Done.YES

    async def _stale(self, held: Sliced | None) -> bool:
        """Serve what is there instead of an error, where the rules allow it."""
        if held is None:
            return False
        spans = self._spans(held)
        now = self.exchange.site.clock.now()
        use = decide_use(self.request, held.stored, self.policy, now, origin_failed=True)
        if spans is None or use.decision not in (Decision.SERVE, Decision.SERVE_STALE_SIE):
            return False
        if await slices_there.missing(self.exchange.site, held, spans) is not None:
            return False
        await self._serve(held, spans, held.shown, Outcome.STALE_SIE)
        return True

    async def _broken(self, verdict: Broken, held: Sliced | None) -> None:
        if await self._stale(held):
            return
        if verdict.error is not None:
            raise verdict.error
        self.exchange.say(502)

    async def _after_another(self, flight: SliceFlight) -> Done:
        """Somebody else's slice came to nothing; what they got instead may be for us, too."""
        verdict = flight.verdict
        if isinstance(verdict, Instead) and verdict.kind is Kind.OTHER:
            return await self._exact()
        whole = (
            self._whole_under_way() if isinstance(verdict, Instead) and verdict.kind is Kind.WHOLE else None
        )
        if whole is not None and await follow(self.exchange, whole, False, self.request, None, self.found):
            return Done.YES
        return Done.AGAIN

    def _whole_under_way(self) -> Flight | None:
        site = self.exchange.site
        whole = site.flight(self.found.key)
        return whole if whole is not None and site.joinable(whole) else None

    async def _instead(self, flight: SliceFlight, verdict: Instead, held: Sliced | None) -> Done | None:
        """The answer is no slice, and it is ours. None: ask again, as if nothing were known."""
        exchange, response = self.exchange, verdict.response
        assert response is not None
        verdict.claimed = True
        if verdict.kind is Kind.UNFIT:
            response.abort()
            flight.fill.abort("of-no-use")
            return await self._exact()
        if verdict.kind is Kind.CHANGED and not self.healed:
            small = response.length is not None and response.length <= exchange.site.slice
            if verdict.head.status != 200 or not small:
                self.healed = True
                response.abort()
                flight.fill.abort("changed")
                return None
        whole = self._whole_under_way() if verdict.kind is Kind.WHOLE else None
        if whole is not None:
            # Another slice has brought everything, too: one such answer is enough.
            response.abort()
            flight.fill.abort("of-no-use")
            followed = await follow(exchange, whole, False, self.request, None, self.found)
            return Done.YES if followed else Done.AGAIN
        if is_error(verdict.head.status) and await self._stale(held):
            response.abort()
            flight.fill.abort("of-no-use")
            return Done.YES
        await passing.store_along(
            exchange,
            self.route,
            self.request,
            self.query,
            self.found,
            flight.fill,
            response,
            verdict.request_time,
            verdict.response_time,
        )
        return Done.YES
