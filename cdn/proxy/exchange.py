"""One exchange: from a client's request to its answer. The only place that awaits both sides.

    route --none--> 404, 421
      | upgrade: tunnel | cache off, bypass, method: pass | else: the cacheable path (`caching`)

Decides the order of these steps and nothing else: what may be stored or served is the rules', where bytes lie is the
store's, how an origin is asked is the tier's.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from cdn._core import HeadError, format_http_date, split_target
from cdn.config.values import Route
from cdn.proxy import answer, passing, synthetic, tunnel
from cdn.proxy._front import ClientStream
from cdn.proxy.caching import answer_cached
from cdn.proxy.content import Held, hold
from cdn.proxy.flight import Flight
from cdn.proxy.handover import Begun, Given
from cdn.proxy.log_entry import LogEntry
from cdn.proxy.site import Site
from cdn.proxy.source import EntrySource, EvictedError, FillError, Source
from cdn.proxy.verdicts import Streaming
from cdn.rules.cache_status import member
from cdn.rules.forwarding import loops
from cdn.rules.message import Fields, RequestHead
from cdn.rules.outcome import NoStoreReason, Outcome
from cdn.rules.stored import Stored
from cdn.rules.storing import bypass
from cdn.rules.use import method_is_cacheable
from cdn.store import Entry, FillState
from cdn.tier import Attempt, OriginError

REFUSED_METHODS = frozenset({"CONNECT", "TRACE", "PURGE"})


class Exchange:
    """`run` is the whole of it. `entry` is what the access log will say."""

    def __init__(self, site: Site, stream: ClientStream, given: Given | None = None) -> None:
        self.site = site
        self.stream = stream
        self.trusted = False
        self.entry = _entry(site, stream)
        self.route: Route | None = None
        self.table = site.table  # the configuration that the route is of: after a reload the site has another
        self.lane = "general"
        self.given = given  # a response that is there already
        self.attempt: Attempt | None = None  # what another lane has done of asking for it
        self.content: Held | None = None  # of a QUERY
        self.fwd: str | None = None  # why the request goes forward, for Cache-Status

    async def run(self, begun: Begun | None = None) -> None:
        site, stream = self.site, self.stream
        site.counters.exchanges += 1
        expects = None if self.given is None else self.given.flight
        try:
            await (self._run() if begun is None else self._go_on(begun))
        except OriginError as error:
            self.origin_failed(error)
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
            if expects is not None:
                expects.expected = False
            if self.given is not None:
                self.given.drop()
            self.finish_log()

    async def _run(self) -> None:
        site, stream = self.site, self.stream
        host = next((value for name, value in stream.fields if name.lower() == "host"), None)
        edge = site.edges.find(stream, host or "")
        secure = stream.secure if edge is None else edge.scheme == "https"
        try:
            authority, path, query = split_target(
                stream.target, secure, None if host is None else host.encode("latin-1"), stream.method
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
            "https" if secure else "http",
            authority,
            path,
            query,
            Fields(stream.fields),
            stream.version,
        )
        self.table = site.table
        index = self.table.find(authority, path, stream.method)
        if index == -1 or (edge is None and not stream_covers(stream, authority)):
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
        self.trusted = edge is not None or site.trusts(stream.address)
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
        elif edge is not None and await site.edges.ahead(edge):
            await passing.forward(self, route, request, NoStoreReason.BEHIND)
        elif stream.method == "QUERY" and not (await self._hold()).whole:
            await passing.forward(self, route, request, NoStoreReason.TOO_LARGE)
        else:
            if edge is not None:
                site.edges.remember(stream, edge)
            await answer_cached(self, route, policy, request)

    def taken(self, route: Route) -> Given | None:
        """The response that was fetched for this exchange, once; None too where it came by another route."""
        given = self.given
        if given is None or given.route is not route:
            return None
        self.given = None
        return given

    def attempted(self) -> Attempt | None:
        """What another lane has done of asking the origin, for whoever asks first."""
        attempt, self.attempt = self.attempt, None
        return attempt

    async def _hold(self) -> Held:
        self.content = content = await hold(self.stream)
        return content

    async def read_along(
        self, flight: Flight, streaming: Streaming, request: RequestHead, outcome: Outcome
    ) -> None:
        if streaming.fill.state is FillState.ABORTED:
            self.say(502)
            return
        shown = streaming.for_leader if outcome is Outcome.MISS else None
        source = flight.source(streaming, shown, outcome is Outcome.COLLAPSED)
        try:
            await self.serve(request, source, outcome)
        finally:
            flight.left(source)

    async def _go_on(self, begun: Begun) -> None:
        """Send the rest of a miss whose beginning another lane has sent."""
        flight, source = begun.flight, begun.source
        self.route = begun.route
        self.entry.outcome = Outcome.MISS.value
        self.entry.key_hash = source.key_hash
        self.entry.origin = flight.server
        self.entry.origin_first_byte_us = flight.first_byte_us
        self.stream.source = source
        try:
            await answer.rest(self.stream, source, begun.offset)
        except EvictedError:
            self.site.evicted += 1
            raise
        finally:
            self.stream.source = None
            source.close()
            flight.left(source)

    async def serve_entry(self, request: RequestHead, entry: Entry, stored: Stored, outcome: Outcome) -> None:
        await self.serve(request, EntrySource(entry, stored), outcome)

    async def serve(self, request: RequestHead, source: Source, outcome: Outcome) -> None:
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
            stored=outcome in (Outcome.MISS, Outcome.REVALIDATED) and self.entry.no_store is None,
        )
        tail = f"Via: 1.{0 if source.old_origin else 1} {site.name}\r\nCache-Status: {text}\r\n".encode(
            "latin-1"
        )
        # No Age says that the origin made (or validated) this response for this request (RFC 9111 §5.1).
        age = stored.age(now) if source.aged or outcome is not Outcome.MISS else -1
        self.stream.source = source
        try:
            await answer.serve(self.stream, request, source, tail, age)
        except EvictedError:
            site.evicted += 1
            raise
        finally:
            self.stream.source = None
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

    def origin_failed(self, error: OriginError) -> None:
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
