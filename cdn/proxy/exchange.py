"""One exchange: from a client's request to its answer. The only place that awaits both sides.

    route --none--> 404, 421          key --> lookup --> may it be used?
      | cache off, bypass, method       | yes: serve (hit, stale while a flight refreshes it)
      v                                 | no:  board the flight for this key, wait for its verdict:
    pass                                        read along | served renewed | stale instead of an error | on our own

Decides the order of these steps and nothing else: what may be stored or served is the rules', where bytes lie is the
store's, how an origin is asked is the tier's.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from cdn._core import HeadError, format_http_date, split_target
from cdn.config.values import CachePolicy, Route
from cdn.proxy import answer, coding, parts, passing, synthetic, tunnel
from cdn.proxy._front import ClientStream
from cdn.proxy.content import Held, content_key, hold
from cdn.proxy.drafts import draft, soft_window, stored_of
from cdn.proxy.flight import OF_THE_REQUEST, Asked, Broken, Flight, NotStored, Streaming, Validated
from cdn.proxy.log_entry import LogEntry
from cdn.proxy.lookup import Found, keyed_target, log_hash, look_up, primary_key
from cdn.proxy.purge_log import Grade
from cdn.proxy.site import Site
from cdn.proxy.source import EntrySource, FillError, FillSource, Source
from cdn.rules.cache_status import member
from cdn.rules.coding import OURS, fits, outdated
from cdn.rules.directives import request_directives
from cdn.rules.forwarding import loops
from cdn.rules.message import Fields, RequestHead, ResponseHead
from cdn.rules.no_vary_search import equivalent, variance
from cdn.rules.outcome import NoStoreReason, Outcome
from cdn.rules.stored import Flag, MetaError, Stored
from cdn.rules.storing import DontStore, bypass, decide_store
from cdn.rules.use import Decision, decide_use, method_is_cacheable
from cdn.rules.validation import fill_fields, is_conditional, validation_request, variants_request
from cdn.rules.vary import key_extras
from cdn.store import Entry, FillState, RecordFlag
from cdn.tier import OriginError

ROUNDS = 4  # times a follower may find that a flight was not for it before it goes on its own
REFUSED_METHODS = frozenset({"CONNECT", "TRACE", "PURGE"})


class Exchange:
    """`run` is the whole of it. `entry` is what the access log will say."""

    def __init__(self, site: Site, stream: ClientStream) -> None:
        self.site = site
        self.stream = stream
        self.trusted = False
        self.entry = _entry(site, stream)
        self.route: Route | None = None
        self.table = site.table  # the configuration that the route is of: after a reload the site has another
        self.lane = "general"
        self.content: Held | None = None  # of a QUERY
        self.fwd: str | None = None  # why the request goes forward, for Cache-Status

    async def run(self) -> None:
        site, stream = self.site, self.stream
        site.counters.exchanges += 1
        try:
            await self._run()
        except OriginError as error:
            self._origin_failed(error)
        except (ConnectionResetError, asyncio.CancelledError):
            self.entry.outcome = self.entry.outcome or Outcome.ERROR.value
            stream.cut()
        except FillError:
            stream.cut()
        except ValueError as fault:
            # The request body's framing broke, or it grew over the limit.
            self._fault_or_body(fault)
        except Exception as fault:
            self._fault(fault)
        finally:
            site.counters.exchanges -= 1
            self.finish_log()

    async def _run(self) -> None:
        site, stream = self.site, self.stream
        host = next((value for name, value in stream.fields if name.lower() == "host"), None)
        try:
            authority, path, query = split_target(
                stream.target, stream.secure, None if host is None else host.encode("latin-1"), stream.method
            )
        except HeadError as error:
            stream.no_keep_alive()
            self.say(error.status)
            return
        if stream.method in REFUSED_METHODS:
            self.say(405, (("Allow", "GET, HEAD, QUERY, POST, PUT, PATCH, DELETE, OPTIONS"),))
            return
        request = RequestHead(
            stream.method,
            "https" if stream.secure else "http",
            authority,
            path,
            query,
            Fields(stream.fields),
            stream.version,
        )
        self.table = site.table
        index = self.table.find(authority, path, stream.method)
        if index == -1 or not stream_covers(stream, authority):
            self.say(421)
            return
        if index < 0:
            self.say(404)
            return
        if loops(request.fields, site.config.node.name):
            self.say(508)
            return
        if request.method == "OPTIONS" and "max-forwards" in request.fields:
            hops = request.fields.all("max-forwards")
            if hops == ["0"]:
                self.say(200, (("Allow", "GET, HEAD, QUERY, POST, PUT, PATCH, DELETE, OPTIONS"),))
                return
            if len(hops) == 1 and hops[0].isascii() and hops[0].isdigit() and len(hops[0]) < 10:
                less = request.fields.without(("max-forwards",)).plus(
                    [("Max-Forwards", str(int(hops[0]) - 1))]
                )
                request = replace(request, fields=less)
        self.trusted = site.trusts(stream.address)
        self.route = route = self.table.routes[index]
        if stream.upgrade and await tunnel.offered(self, route, request):
            return
        policy = route.cache
        if policy is None:
            await passing.forward(self, route, request, NoStoreReason.ROUTE_OFF)
        elif stream.method == "POST":
            await passing.post(self, route, policy, request)
        elif not method_is_cacheable(stream.method) or (stream.has_body and stream.method != "QUERY"):
            await passing.forward(self, route, request, NoStoreReason.METHOD)
        elif bypass(request, policy):
            await passing.forward(self, route, request, NoStoreReason.BYPASS)
        elif stream.method == "QUERY" and not (await self._hold()).whole:
            await passing.forward(self, route, request, NoStoreReason.TOO_LARGE)
        else:
            await self._cached(route, policy, request)

    async def _hold(self) -> Held:
        self.content = content = await hold(self.stream)
        return content

    async def _cached(self, route: Route, policy: CachePolicy, request: RequestHead) -> None:
        site = self.site
        query = keyed_target(request, self.table.query_filter(route.index))
        primary = primary_key(request, query, policy)
        if self.content is not None:
            primary = content_key(primary, request, self.content)
        request = coding.asked(route, request)
        self.entry.key_hash = log_hash(primary)
        for _ in range(ROUNDS):
            if site.table is not self.table:
                break  # what the route of an earlier configuration decides is not stored as of the new one
            now = site.clock.now()
            found, stored = self._find(route, policy, request, primary)
            if stored is None:
                found, stored = self._equivalent(route, policy, request, query, found)
            if stored is None and await parts.answered(self, route, policy, request, query, found):
                return
            use = decide_use(request, stored, policy, now)
            entry = found.entry
            if use.decision is Decision.SERVE and entry is not None and stored is not None:
                await self._serve(request, EntrySource(entry, stored), Outcome.HIT)
                return
            if use.decision is Decision.SERVE_STALE_SWR and entry is not None and stored is not None:
                site.board(route, found.key, lambda: self.ask(request, query, found, stored))  # noqa: B023
                await self._serve(request, EntrySource(entry, stored), Outcome.STALE_SWR)
                return
            if use.decision is Decision.GATEWAY_TIMEOUT:
                self.say(504, detail="It is not stored here, and only a stored response was asked for.")
                return
            if use.reason == "request-no-store":
                await passing.forward(self, route, request, NoStoreReason.REQUEST_NO_STORE)
                return
            self.fwd = _forward_reason(found, stored, use.reason)
            if request.method == "HEAD" or (stored is None and self._alone(policy, request, primary)):
                await self._alone_or_stored(route, policy, request, query, found, stored)
                return
            flight, leader = site.board(route, found.key, lambda: self.ask(request, query, found, stored))  # noqa: B023
            if await self._follow(flight, leader, request, stored, found):
                return
        await passing.forward(self, route, request, NoStoreReason.PREDICTED_UNCACHEABLE)

    def _find(
        self, route: Route, policy: CachePolicy, request: RequestHead, primary: bytes
    ) -> tuple[Found, Stored | None]:
        """What is stored for this request; a record of an earlier epoch is decided again first."""
        site = self.site
        found = look_up(site.memory, primary, request)
        entry = found.entry
        if entry is None:
            return found, None
        stored: Stored | None
        try:
            stored = stored_of(entry)
        except MetaError:
            site.memory.remove(entry.key)
            found.entry = None
            return found, None
        if entry.stamp != site.memory.stamp:
            stored = self.decide_again(route, policy, request, found, entry, stored)
        if stored is not None and found.entry is not None:
            found.entry.touch(site.clock.now())
        return found, stored

    def _equivalent(
        self, route: Route, policy: CachePolicy, request: RequestHead, query: str | None, nothing: Found
    ) -> tuple[Found, Stored | None]:
        """What is stored for another query that means the same, if it is usable as it is (No-Vary-Search)."""
        known = self.site.equivalents.find(request, query, nothing.primary)
        if known is None:
            return nothing, None
        found, stored = self._find(route, policy, request, known.primary)
        if stored is None or not equivalent(known.query, query, variance(stored.fields)):
            return nothing, None
        if decide_use(request, stored, policy, self.site.clock.now()).decision is not Decision.SERVE:
            return nothing, None
        return found, stored

    def decide_again(
        self,
        route: Route,
        policy: CachePolicy,
        request: RequestHead,
        found: Found,
        entry: Entry,
        stored: Stored,
    ) -> Stored | None:
        """A purge came since, or another configuration: the same response by today's rules (RFC 9111 §3 once more)."""
        site = self.site
        purged = site.purges.find(entry.stamp, request, stored.tags)
        head = ResponseHead(stored.status, stored.fields, stored.reason)
        credentials = [("Authorization", "-")] if stored.flags & Flag.AUTHORIZED else []
        asked = replace(request, method="GET", fields=Fields(credentials))
        decision = decide_store(
            asked, head, policy, request_time=stored.request_time, response_time=stored.response_time
        )
        obsolete = purged.grade is Grade.GONE or outdated(stored, route.compress, policy.targets)
        if isinstance(decision, DontStore) or obsolete:
            site.memory.remove(entry.key)
            found.entry = None
            return None
        again = _as_old_as(stored, decision)
        if purged.grade is not Grade.NONE:
            again = purged.applied(again)
        published = site.memory.republish(
            entry,
            draft(
                again,
                route.headers.response,
                site.memory.stamp,
                old_origin=bool(entry.flags & RecordFlag.OLD_ORIGIN),
            ),
        )
        found.entry = published or entry
        return soft_window(again.with_body(entry.body_length))

    def _alone(self, policy: CachePolicy, request: RequestHead, primary: bytes) -> bool:
        """Whether this miss should not wait for, or be waited for by, anybody."""
        if "range" in request.fields or is_conditional(request) or self.site.predicted_uncacheable(primary):
            return True
        return policy.request_directives != "none" and request_directives(request.fields).no_store

    async def _alone_or_stored(
        self,
        route: Route,
        policy: CachePolicy,
        request: RequestHead,
        query: str | None,
        found: Found,
        stored: Stored | None,
    ) -> None:
        """A miss that is fetched for this client only; what turns out storable is stored all the same."""
        site = self.site
        if "range" in request.fields and request.method == "GET":
            flight = site.flights.get(found.key)
            if flight is not None and site.joinable(flight) and await self._join_range(flight, request):
                return
            if stored is None:
                await parts.fetch_range(self, route, request, query, found)
                return
        told = None
        if request.method == "HEAD" and stored is None:
            held = parts.known(self, route, policy, request, found)
            told = None if held is None else (held.index, held.stored)
        await passing.fetch_alone(self, route, request, query, found, stored, told)

    async def _join_range(self, flight: Flight, request: RequestHead) -> bool:
        """A range that a flight has received already is read from it; one beyond does not wait (RFC 9110 §14)."""
        verdict = flight.verdict
        if not isinstance(verdict, Streaming) or not flight.streaming or verdict.fill.length is None:
            return False
        if key_extras(verdict.spec, request.fields) != verdict.extras:
            return False
        first = answer.first_position(request, verdict.stored, verdict.fill.length)
        if first is None or first >= verdict.fill.arrived:
            return False
        await self.read_along(flight, verdict, request, Outcome.COLLAPSED)
        return True

    def ask(self, request: RequestHead, query: str | None, found: Found, stored: Stored | None) -> Asked:
        known: tuple[Entry, Stored] | None = None
        candidates: list[tuple[Entry, Stored]] = []
        if found.entry is not None and stored is not None:
            known = (found.entry, stored)
            fields = validation_request(request, stored)
        elif found.specs:
            codings = self.route.compress if self.route is not None else ()
            variants = self.site.variants(found.primary)
            candidates = [pair for pair in variants if fits(pair[1], request.fields, codings)]
            fields = variants_request(request, [variant for _, variant in candidates])
        else:
            fields = fill_fields(request.fields)
        return Asked(
            request,
            found.primary,
            query,
            fields,
            known,
            candidates,
            found.specs,
            self.stream.address,
            self.trusted,
            self.content,
        )

    async def _follow(
        self, flight: Flight, leader: bool, request: RequestHead, stored: Stored | None, found: Found
    ) -> bool:
        """Wait for the flight's verdict and answer by it. False: it was not for us, look again."""
        if leader:
            flight.leader = True
        flight.boarded += 1
        try:
            return await self._land(flight, leader, request, stored, found)
        finally:
            flight.boarded -= 1

    async def _land(
        self, flight: Flight, leader: bool, request: RequestHead, stored: Stored | None, found: Found
    ) -> bool:
        site = self.site
        try:
            with flight.interims.passed_to(self.stream, leader):
                await flight.decided.wait()
        except asyncio.CancelledError:
            if leader:
                flight.leader = False
                flight.drop()
            raise
        verdict = flight.verdict
        self.entry.origin = flight.server
        self.entry.origin_first_byte_us = flight.first_byte_us
        if isinstance(verdict, Streaming):
            if not leader and key_extras(verdict.spec, request.fields) != verdict.extras:
                return False
            await self.read_along(flight, verdict, request, Outcome.MISS if leader else Outcome.COLLAPSED)
            return True
        if isinstance(verdict, Validated):
            if not leader and key_extras(verdict.stored.vary, request.fields) != key_extras(
                verdict.stored.vary, flight.asked.request.fields
            ):
                return False
            self.entry.no_store = verdict.reason.value if verdict.reason else None
            await self._serve(request, EntrySource(verdict.entry, verdict.stored), Outcome.REVALIDATED)
            return True
        if isinstance(verdict, NotStored):
            if not leader:
                return await self._released(request, verdict)
            await passing.relay(self, verdict.response, verdict.head, request, Outcome.MISS, verdict.reason)
            return True
        assert isinstance(verdict, Broken)
        entry = found.entry
        if (
            stored is not None
            and entry is not None
            and self.route is not None
            and self.route.cache is not None
        ):
            use = decide_use(request, stored, self.route.cache, site.clock.now(), origin_failed=True)
            if use.decision in (Decision.SERVE, Decision.SERVE_STALE_SIE):
                if leader:
                    flight.leader = False
                    flight.drop()
                await self._serve(request, EntrySource(entry, stored), Outcome.STALE_SIE)
                return True
        if verdict.answer is not None:
            if isinstance(verdict.answer, Streaming):
                await self.read_along(
                    flight, verdict.answer, request, Outcome.MISS if leader else Outcome.COLLAPSED
                )
                return True
            if not leader:
                return await self._released(request, verdict.answer)
            await passing.relay(
                self,
                verdict.answer.response,
                verdict.answer.head,
                request,
                Outcome.MISS,
                verdict.answer.reason,
            )
            return True
        if verdict.error is not None:
            self._origin_failed(verdict.error)
        else:
            self.say(502)
        return True

    async def _released(self, request: RequestHead, verdict: NotStored) -> bool:
        assert self.route is not None
        if verdict.reason in OF_THE_REQUEST:
            return False
        await passing.forward(self, self.route, request, NoStoreReason.PREDICTED_UNCACHEABLE)
        return True

    async def read_along(
        self, flight: Flight, streaming: Streaming, request: RequestHead, outcome: Outcome
    ) -> None:
        if streaming.fill.state is FillState.ABORTED:
            self.say(502)
            return
        shown = streaming.for_leader if outcome is Outcome.MISS else None
        source = FillSource(streaming.fill, streaming.stored, streaming.key_hash, shown, flight.overflow)
        source.aged = streaming.aged
        flight.joined(source)
        try:
            await self._serve(request, source, outcome)
        finally:
            flight.left(source)

    async def serve_entry(self, request: RequestHead, entry: Entry, stored: Stored, outcome: Outcome) -> None:
        await self._serve(request, EntrySource(entry, stored), outcome)

    async def serve_source(self, request: RequestHead, source: Source, outcome: Outcome) -> None:
        await self._serve(request, source, outcome)

    async def board(self, route: Route, request: RequestHead, found: Found, asked: Asked) -> bool:
        """Board the flight for this key, sent out with `asked` if it is a new one. False: it was not for us."""
        flight, leader = self.site.board(route, found.key, lambda: asked)
        return await self._follow(flight, leader, request, None, found)

    async def _serve(self, request: RequestHead, source: Source, outcome: Outcome) -> None:
        site, now = self.site, self.site.clock.now()
        self.entry.outcome = outcome.value
        self.entry.key_hash = source.key_hash
        stored = source.stored
        text = member(
            site.name,
            outcome,
            ttl=stored.fresh_until - now,
            fwd=self.fwd,
            fwd_status=304 if outcome is Outcome.REVALIDATED else None,
            stored=outcome is Outcome.MISS
            or (outcome is Outcome.REVALIDATED and self.entry.no_store is None),
        )
        tail = f"Via: 1.{0 if source.old_origin else 1} {site.name}\r\nCache-Status: {text}\r\n".encode(
            "latin-1"
        )
        # No Age says that the origin made (or validated) this response for this request (RFC 9111 §5.1).
        age = stored.age(now) if source.aged or outcome is not Outcome.MISS else -1
        try:
            await answer.serve(self.stream, request, source, tail, age)
        finally:
            source.close()

    # --- answers of our own ---

    def say(
        self,
        status: int,
        extra: tuple[tuple[str, str], ...] = (),
        outcome: Outcome = Outcome.SYNTHETIC,
        detail: str = "",
        cause: str | None = None,
    ) -> None:
        """A response of our own: nothing was served from an origin or the store."""
        stream = self.stream
        if stream.started:
            stream.cut()
            return
        text = member(self.site.name, outcome, detail=cause)
        extra = (*extra, ("Cache-Status", text), ("X-Request-Id", self.entry.request_id))
        extra = (("Date", format_http_date(self.site.clock.now() // 1000)), *extra)
        made = synthetic.response(status, self.entry.request_id, extra, detail)
        self.entry.status = status
        self.entry.outcome = outcome.value
        stream.start(made.head, status, len(made.body))
        stream.write(made.body)
        stream.finish()

    def _origin_failed(self, error: OriginError) -> None:
        self.entry.origin = error.server or self.entry.origin
        self.entry.outcome = Outcome.ERROR.value
        self.site.report("origin", str(error))
        try:
            self.say(error.status, outcome=Outcome.ERROR, cause=error.kind.value)
        except ConnectionResetError:
            self.stream.cut()

    def _fault_or_body(self, fault: ValueError) -> None:
        if self.stream.gone or not self.stream.body_broken:
            self._fault(fault)
            return
        self.stream.no_keep_alive()
        self.say(413 if "limit" in str(fault) else 400)

    def _fault(self, fault: Exception) -> None:
        self.site.fault("exchange", fault)
        self.entry.outcome = Outcome.ERROR.value
        try:
            self.say(500, outcome=Outcome.ERROR)
        except (ConnectionResetError, RuntimeError):
            self.stream.cut()

    def finish_log(self) -> None:
        entry, stream = self.entry, self.stream
        entry.bytes_sent = stream.bytes_sent
        entry.duration_us = stream.elapsed_us()
        entry.status = stream.status or entry.status
        entry.outcome = entry.outcome or Outcome.ERROR.value
        self.site.counters.lanes[self.lane] += 1
        self.site.counters.done(
            entry.outcome, entry.status, entry.no_store, entry.bytes_sent, entry.duration_us
        )
        self.site.log(entry)


def _forward_reason(found: Found, stored: Stored | None, reason: str) -> str:
    """The `fwd` of RFC 9211 §2.2."""
    if stored is None:
        return "vary-miss" if found.specs else "uri-miss"
    return "request" if reason.startswith("request-") else "stale"


def _as_old_as(stored: Stored, decision: Stored) -> Stored:
    """`decision` with the birth of `stored`: its Age field is gone, its age is not. A purge stays in force."""
    shift = stored.born - decision.born
    fresh_until = decision.fresh_until + shift
    if not stored.no_cache and stored.fresh_until < stored.born + stored.lifetime:
        fresh_until = min(fresh_until, stored.fresh_until)
        if max(stored.swr_until, stored.sie_until) <= stored.fresh_until:  # to be validated before any use
            shift = min(shift, fresh_until - max(decision.swr_until, decision.sie_until))
    return replace(
        decision,
        flags=decision.flags | (stored.flags & OURS),
        born=stored.born,
        fresh_until=fresh_until,
        swr_until=max(fresh_until, decision.swr_until + shift),
        sie_until=max(fresh_until, decision.sie_until + shift),
    )


def stream_covers(stream: ClientStream, authority: str) -> bool:
    """Whether the certificate of a TLS listener covers the host; always so without TLS."""
    host = authority[: authority.index("]") + 1] if authority.startswith("[") else authority.partition(":")[0]
    return stream.covers(host)


def _entry(site: Site, stream: ClientStream) -> LogEntry:
    host, referer, agent = "", None, None
    for name, value in stream.fields:
        lower = name.lower()
        if lower == "host":
            host = value
        elif lower == "referer" and referer is None:
            referer = value
        elif lower == "user-agent" and agent is None:
            agent = value
    return LogEntry(
        time=site.clock.now(),
        request_id=site.request_id(),
        client=stream.address,
        method=stream.method,
        host=host,
        target=stream.target.decode("latin-1"),
        protocol=f"HTTP/{stream.version[0]}.{stream.version[1]}",
        referer=referer,
        user_agent=agent,
    )
