"""What all exchanges of a worker share: the configuration in force, the store, the origins, the flights and the counts.

Decides which configuration an exchange sees: a reload replaces the compiled parts at once, an exchange in progress
keeps the route it began with. It must not know a client.
"""

from __future__ import annotations

import asyncio
import ipaddress
import itertools
import secrets
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import TYPE_CHECKING, Any

from cachetools import LRUCache, TTLCache

from cdn._core import cache_key
from cdn.config.values import Config, Route, Tier
from cdn.proxy import stored_parts, stored_slices
from cdn.proxy._clock import Clock
from cdn.proxy._front import ClientStream
from cdn.proxy._routes import RouteTable
from cdn.proxy.coding import Coders
from cdn.proxy.counters import Counters
from cdn.proxy.drafts import stored_of
from cdn.proxy.elsewhere import Elsewhere
from cdn.proxy.equivalents import Equivalents
from cdn.proxy.flight import Again, Asked, Flight, Streaming
from cdn.proxy.log_entry import AccessSink, LogEntry
from cdn.proxy.purge_log import Grade, PurgeLog
from cdn.rules.edge_word import FIELD, Edge, believe
from cdn.rules.forwarding import loop_id, origin_fields, origin_path
from cdn.rules.message import Fields, RequestHead
from cdn.rules.outcome import NoStoreReason
from cdn.rules.stored import Stored
from cdn.store import Entry, Fill, Memory, RecordFlag
from cdn.tier import OnInterim, OriginRequest, OriginResponse
from cdn.tier.origins import Origins
from cdn.tier.rendezvous import hash_of
from cdn.tier.shields import ShieldPool, shared_secret

if TYPE_CHECKING:
    from cdn.proxy._fill import Passage

REASONS = tuple(NoStoreReason)
VARYING = 4_096  # URLs whose variants are counted
VARIANTS = 64  # of one URL; the one filled longest ago goes
UNSLICED = 10_000  # keys
PREDICTED_FOR = 10_000  # ms; a flight that turns out uncacheable frees its key from waiting for this long
UNSLICED_FOR = 60_000  # ms for which a URL that could not be fetched in slices is not asked for them again
SLICES_OF_ALL = (
    16  # slices of one body at least that a store has room for: the configured length may be too much
)


class Site:
    """One per worker. `report(kind, sentence)` writes a line of the node's log, bounded per kind."""

    def __init__(
        self,
        config: Config,
        memory: Memory,
        clock: Clock,
        access: AccessSink | None,
        report: Callable[[str, str], None],
    ) -> None:
        self.memory = memory
        self.clock = clock
        self.access = access
        self.counters = Counters()
        self.coders = Coders()
        self.flights: dict[bytes, Flight | Passage] = {}
        self.purges = PurgeLog(memory.next_stamp)
        self.equivalents = Equivalents()
        self._report = report
        self._tasks: set[asyncio.Task[Any]] = set()
        self._unsliced: TTLCache[bytes, bool] = TTLCache(UNSLICED, UNSLICED_FOR, timer=clock.now)
        self._variants: LRUCache[bytes, dict[bytes, None]] = LRUCache(VARYING)
        self._ids = itertools.count(1)
        self._marks = itertools.count(secrets.randbits(62))  # no other worker has the same
        self._id_prefix = secrets.token_hex(4)
        if memory.wake_fileno is not None:
            asyncio.get_running_loop().add_reader(memory.wake_fileno, memory.woken)
        self.configure(config)
        self.origins = Origins(config.origins, report=report)
        self.shields = self._shield_pool(config)

    def configure(self, config: Config) -> None:
        self.config = config
        self.name = loop_id(config.node.name)
        self.routes: tuple[Route, ...] = config.routes
        self.table = RouteTable(config.routes)
        self.slice = min(config.store.slice, max(64 << 10, self.memory.largest // SLICES_OF_ALL >> 16 << 16))
        self._edge_secret = shared_secret(config.edges.secret_env, "edges") if config.edges else None
        self._trusted = [ipaddress.ip_network(net) for net in config.trusted_proxies]

    def reconfigure(self, config: Config) -> None:
        """New routes and origins; what was decided under the old ones is decided again when it is next asked for."""
        old = self.origins
        if config.origins != self.config.origins:
            try:
                self.origins = Origins(config.origins, report=self._report, before=old)
            except OSError as error:
                raise ValueError(f"a certificate or key of an origin can't be used: {error}") from error
            self.spawn(old.retire())
        if config.shields != self.config.shields:
            shields, self.shields = self.shields, self._shield_pool(config)
            if shields is not None:
                self.spawn(shields.retire())
        self.configure(config)
        self.memory.next_stamp()

    def _shield_pool(self, config: Config) -> ShieldPool | None:
        return None if config.shields is None else ShieldPool(config.shields, report=self._report)

    def edge(self, stream: ClientStream, host: str) -> Edge | None:
        """The edge that this request comes from, where this node is a shield and believes its word."""
        if self.config.node.tier is not Tier.SHIELD:
            return None
        said = [value for name, value in stream.fields if name.lower() == FIELD]
        if len(said) != 1:
            return None
        edge = believe(
            said[0],
            self._edge_secret,
            verified=stream.verified,
            now=int(time.time()),
            method=stream.method,
            host=host,
            target=stream.target.decode("latin-1"),
        )
        if edge is None:
            self._report("edge", f"a request of {stream.address} that says it is an edge's is not believed")
        return edge

    def request_id(self) -> str:
        return f"{self._id_prefix}-{next(self._ids):x}"

    def trusts(self, address: str) -> bool:
        """Whether what this peer says of earlier hops is believed."""
        if not self._trusted:
            return False
        try:
            peer = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        return any(peer in net for net in self._trusted)

    def predict(self, key: bytes, reason: NoStoreReason) -> None:
        """The last response under this key could not be stored: nobody waits for the next one."""
        self.memory.remember_uncacheable(key, self.clock.now() + PREDICTED_FOR, REASONS.index(reason))

    def why_not_stored(self, key: bytes) -> NoStoreReason | None:
        """Why the last response under this key was not stored; None where that is not known any more."""
        number = self.memory.uncacheable(key, self.clock.now())
        return None if number is None else REASONS[number]

    def predicted_uncacheable(self, key: bytes) -> bool:
        return self.memory.uncacheable(key, self.clock.now()) is not None

    def storable_after_all(self, key: bytes) -> None:
        self.memory.remember_uncacheable(key, 0)

    def unsliceable(self, key: bytes, *, without_ranges: bool = False) -> None:
        """Slices of this URL could not be joined or stored; `without_ranges`: its origin serves no ranges at all."""
        self._unsliced[key] = without_ranges

    def sliceable(self, key: bytes) -> bool:
        return key not in self._unsliced and self.why_not_stored(key) in (None, NoStoreReason.TOO_LARGE)

    def without_ranges(self, key: bytes) -> bool:
        """Whether a range of this URL is known to bring everything."""
        return bool(self._unsliced.get(key, False))

    def count_variant(self, primary: bytes, key: bytes) -> None:
        """One more variant of a URL: at most VARIANTS stay, so that a URL cannot crowd out the others."""
        variants = self._variants.setdefault(primary, {})
        variants.pop(key, None)
        variants[key] = None
        while len(variants) > VARIANTS:
            oldest = next(iter(variants))
            del variants[oldest]
            self.memory.remove(oldest)
            stored_parts.drop(self.memory, primary, oldest)
            stored_slices.drop(self.memory, oldest)

    def variants(self, primary: bytes) -> list[tuple[Entry, Stored]]:
        """What is stored of a URL's variants, as far as this worker has counted them."""
        out = []
        for key in self._variants.get(primary, ()):
            entry = self.memory.lookup(key)
            if entry is not None and entry.stamp == self.memory.stamp:
                out.append((entry, stored_of(entry)))
        return out

    def departure(self, key: bytes, since: Fill | None = None) -> Fill:
        """A mark of now for a request that leaves outside of a flight: it ages with every purge that reaches `key`.

        `since`: of when that one's request left.
        """
        fill, _ = self.memory.begin_fill(key + next(self._marks).to_bytes(8, "little"), since=since)
        return fill

    def board(self, route: Route, key: bytes, ask: Callable[[], Asked]) -> tuple[Flight, bool]:
        """The flight for `key` that is on its way, or a new one with what `ask` gives; True for a new one."""
        fill, won = self.memory.begin_fill(key)
        flight = self.flight(key)
        if not won and fill.remote and (flight is None or flight.fill is not fill):
            flight = self.depart(Elsewhere(self, route, fill, ask()))
        if not won and flight is not None and flight.fill is fill:
            if self.joinable(flight):
                return flight, False
            self.memory.void(key)
            fill, won = self.memory.begin_fill(key)
            if fill.remote:  # another worker's again, begun since
                return self.depart(Elsewhere(self, route, fill, ask())), False
        asked = ask()
        if self.memory.worker is not None and self._stored_since(key, asked):
            fill.abort("answered")
            flight = Flight(self, route, fill, asked)
            flight.decide(Again(None))
            return flight, False
        return self.depart(Flight(self, route, fill, asked)), True

    def _stored_since(self, key: bytes, asked: Asked) -> bool:
        """Whether another worker has stored something there since we looked."""
        entry = self.memory.lookup(key)
        if entry is None or entry.stamp != self.memory.stamp:
            return False
        if entry.flags & RecordFlag.VARY_MARKER:
            return not asked.specs
        return asked.known is None or not asked.known[0].current

    def depart(self, flight: Flight) -> Flight:
        """Send out a new flight, under the key of its fill."""
        self.flights[flight.fill.key] = flight
        self.spawn(self.fly(flight))
        return flight

    def joinable(self, flight: Flight) -> bool:
        """Whether what it brings is good for a request that comes now: no purge came since its own."""
        tags = flight.verdict.stored.tags if isinstance(flight.verdict, Streaming) else None
        return self.purges.find(flight.fill.stamp, flight.asked.request, tags).grade is Grade.NONE

    def flight(self, key: bytes) -> Flight | None:
        """The flight under way for `key`. One of the fill lane's becomes a flight when it is first asked for."""
        flight = self.flights.get(key)
        return flight if flight is None or isinstance(flight, Flight) else flight.flight()

    async def fly(self, flight: Flight) -> None:
        try:
            await flight.run()
        finally:
            self._landed(flight)

    async def fly_on(
        self, flight: Flight, response: OriginResponse, request_time: int, response_time: int
    ) -> None:
        """A flight whose response is there already."""
        try:
            await flight.run_with(response, request_time, response_time)
        finally:
            self._landed(flight)

    def _landed(self, flight: Flight) -> None:
        for key in flight.keys:
            if self.flights.get(key) is flight:
                del self.flights[key]

    def fetch(
        self,
        route: Route,
        request: RequestHead,
        fields: Fields,
        query: str | None,
        *,
        peer: str,
        trusted: bool,
        body: AsyncIterator[bytes] | None = None,
        body_length: int | None = None,
        on_interim: OnInterim | None = None,
    ) -> Coroutine[Any, Any, OriginResponse]:
        """Ask the route's origin. `fields` are the client's, or what replaces them."""
        self.counters.origin(route.origin)["requests"] += 1

        def directly() -> Coroutine[Any, Any, OriginResponse]:
            return self.origins.fetch(
                route.origin,
                self.origin_request(route, request, fields, query, peer=peer, trusted=trusted),
                body,
                body_length=body_length,
                on_interim=on_interim,
                key=self.place(route, request, query),
            )

        if self.shields is None or route.cache is None or not route.shield:
            return directly()
        asked = self.origin_request(route, request, fields, query, peer=peer, trusted=trusted, shield=True)
        return self.shields.fetch(
            request.scheme, asked, body, directly, body_length=body_length, on_interim=on_interim
        )

    def place(self, route: Route, request: RequestHead, query: str | None) -> int:
        """What chooses a server where the route's origin goes by the key: the same for every node and variant."""
        if not self.origins.keyed(route.origin):
            return 0
        return hash_of(
            cache_key(
                request.scheme == "https",
                request.authority.encode("latin-1"),
                request.path.encode("latin-1"),
                None if query is None else query.encode("latin-1"),
                (),
            )
        )

    def origin_request(
        self,
        route: Route,
        request: RequestHead,
        fields: Fields,
        query: str | None,
        *,
        peer: str,
        trusted: bool,
        shield: bool = False,
    ) -> OriginRequest:
        """The request as the origin gets it, or a shield, which makes the route's edits itself; `query` is what is
        left of the client's.
        """
        path = request.path if shield else origin_path(request.path, route.rewrite)
        target = path if query is None else f"{path}?{query}"
        sent = origin_fields(
            request,
            node=self.config.node.name,
            peer=peer,
            trusted=trusted,
            edits=None if shield else route.headers.request,
            fields=fields,
        )
        return OriginRequest(request.method, target, request.authority, sent)

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def fault(self, where: str, fault: BaseException) -> None:
        """Something inside is wrong: counted, and said in one line with its place."""
        self.counters.failures += 1
        trace = fault.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        place = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace is not None else "?"
        self._report("fault", f"{where}: {type(fault).__name__}: {fault!s:.200} at {place}")

    def report(self, kind: str, sentence: str) -> None:
        self._report(kind, sentence)

    def log(self, entry: LogEntry) -> None:
        if self.access is not None:
            self.access.entry(entry)

    async def close(self) -> None:
        if self.memory.wake_fileno is not None:
            asyncio.get_running_loop().remove_reader(self.memory.wake_fileno)
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
        self.coders.close()
        await self.origins.close()
        if self.shields is not None:
            await self.shields.close()
