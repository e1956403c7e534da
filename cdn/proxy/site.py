"""What all exchanges of a worker share: the configuration in force, the store, the origins, the flights and the counts.

Decides which configuration an exchange sees: a reload replaces the compiled parts at once, an exchange in progress
keeps the route it began with. It must not know a client.
"""

from __future__ import annotations

import asyncio
import ipaddress
import itertools
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from cdn._core import cache_key
from cdn.config.values import Config, Route, Tier
from cdn.proxy._clock import Clock
from cdn.proxy._routes import RouteTable
from cdn.proxy.coding import Coders
from cdn.proxy.counters import Counters
from cdn.proxy.disk import DiskTier
from cdn.proxy.edges import Edges, secret_of
from cdn.proxy.elsewhere import Elsewhere
from cdn.proxy.equivalents import Equivalents
from cdn.proxy.flight import Flight
from cdn.proxy.hindsight import Hindsight
from cdn.proxy.log_entry import AccessSink, LogEntry
from cdn.proxy.purge_log import Grade, PurgeLog
from cdn.proxy.relief import Relief
from cdn.proxy.variant_cap import VariantCap
from cdn.proxy.verdicts import Again, Asked, Streaming
from cdn.rules.between_tiers import shield_edits
from cdn.rules.forwarding import loop_id, origin_fields, origin_path
from cdn.rules.message import Fields, RequestHead
from cdn.store import Fill, Memory, RecordFlag
from cdn.tier import Attempt, OnInterim, OriginRequest, OriginResponse
from cdn.tier.origins import Origins
from cdn.tier.rendezvous import hash_of
from cdn.tier.shields import ShieldPool

if TYPE_CHECKING:
    from cdn.proxy._fill import Passage

SLICES_OF_ALL = (
    16  # slices of one body at least that a store has room for: the configured length may be too much
)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A configuration, compiled: see `Site.prepare`. No origins: those in force are the same."""

    config: Config
    table: RouteTable
    trusted: list[ipaddress.IPv4Network | ipaddress.IPv6Network]
    edge_secret: bytes | None
    origins: Origins | None


class Site:
    """One per worker. `report(kind, sentence)` writes a line of the node's log, bounded per kind."""

    def __init__(
        self,
        config: Config,
        memory: Memory,
        clock: Clock,
        access: AccessSink | None,
        report: Callable[[str, str], None],
        purges: PurgeLog,
    ) -> None:
        self.memory = memory
        self.clock = clock
        self.access = access
        self.counters = Counters()
        self.coders = Coders()
        self.flights: dict[bytes, Flight | Passage] = {}
        self.purges = purges
        self.disk: DiskTier | None = None
        self.relief: Relief | None = None
        self.evicted = 0  # clients that were cut because what they read was evicted
        self.equivalents = Equivalents()
        self.hindsight = Hindsight(memory, clock)
        self.edges = Edges(clock, purges, report)
        self.variants = VariantCap(memory, purges)
        self._report = report
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ids = itertools.count(1)
        self._marks = itertools.count(secrets.randbits(62))  # no other worker has the same
        self._id_prefix = secrets.token_hex(4)
        if memory.wake_fileno is not None:
            asyncio.get_running_loop().add_reader(memory.wake_fileno, self._woken)
        # What speaks for the routes of each configuration that exchanges still follow; the routes are kept with it, so
        # that no identity is given twice.
        self._speakers: dict[int, tuple[Route, Origins]] = {}
        self.config: Config
        self.origins: Origins
        self.shields: ShieldPool | None = None
        self.adopt(self.prepare(config))

    def prepare(self, config: Config) -> Prepared:
        """Everything that can fail of taking a configuration; nothing has changed. ValueError, OSError (its files)."""
        if config.node.tier is Tier.SHIELD:
            config = replace(config, routes=tuple(map(_of_a_shield, config.routes)))
        return Prepared(
            config,
            RouteTable(config.routes),
            [ipaddress.ip_network(net) for net in config.trusted_proxies],
            secret_of(config),
            self._prepare_origins(config),
        )

    def _prepare_origins(self, config: Config) -> Origins | None:
        before = self.origins if self._speakers else None
        if before is not None and config.origins == self.config.origins:
            return None
        return Origins(config.origins, report=self._report, before=before)

    def adopt(self, prepared: Prepared) -> None:
        """New routes and origins for requests from now on; an exchange under way goes on by those it began with.

        What was decided under the old ones is decided again once the node begins a new epoch, which is not done here.
        """
        former = dict(self._speakers)
        old: Origins | None = self.origins if former else None
        if old is None or prepared.config.shields != self.config.shields:
            shields, self.shields = self.shields, self._shield_pool(prepared.config)
            if shields is not None:
                self.spawn(shields.retire())
        self.config = prepared.config
        self.name = loop_id(prepared.config.node.name)
        self.routes: tuple[Route, ...] = prepared.config.routes
        self.table = prepared.table
        whole = self.memory.largest // SLICES_OF_ALL >> 16 << 16
        self.slice = min(prepared.config.store.slice, max(64 << 10, whole))
        self._trusted = prepared.trusted
        self.edges.adopt(prepared.config, prepared.edge_secret)
        if prepared.origins is not None:
            self.origins = prepared.origins
        self._speakers |= {id(route): (route, self.origins) for route in self.routes}
        if old is not None:
            retired = old if old is not self.origins else None
            self.spawn(self._retire(set(former), retired, set(self._tasks)))

    async def _retire(
        self, former: set[int], origins: Origins | None, under_way: set[asyncio.Task[Any]]
    ) -> None:
        """Forget earlier routes once all who may follow them have ended, and the origins that spoke for them."""
        if origins is not None:
            await origins.retire(under_way)
        elif under_way:
            await asyncio.wait(under_way)
        for number in former - {id(route) for route in self.routes}:
            self._speakers.pop(number, None)

    def origins_of(self, route: Route) -> Origins:
        """What asks the origin of this route: as the configuration says that the route is of."""
        speaker = self._speakers.get(id(route))
        return self.origins if speaker is None else speaker[1]

    def _shield_pool(self, config: Config) -> ShieldPool | None:
        if config.shields is None:
            return None
        return ShieldPool(config.shields, report=self._report, place=self.purges.told)

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

    def departure(self, key: bytes, since: Fill | None = None) -> Fill:
        """A mark of now for a request that leaves outside of a flight: it ages with every purge that reaches `key`.

        `since`: of when that one's request left.
        """
        fill, _ = self.memory.begin_fill(key + next(self._marks).to_bytes(8, "little"), since=since)
        return fill

    def begin_with(self, key: bytes, since: Fill) -> tuple[Fill, bool]:
        """`begin_fill` for a response that is there: what is only recalled gives way to it."""
        fill, won = self.memory.begin_fill(key, since=since)
        flight = None if won else self.flight(key)
        if flight is not None and flight.fill is fill and flight.recalled:
            self.memory.void(key)
            fill, won = self.memory.begin_fill(key, since=since)
        return fill, won

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
        if entry is None or not self.purges.current(entry.stamp, key):
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
        """Whether what it brings is good for a request that comes now: the origin's, and no purge came since."""
        if flight.recalled:
            return False
        if flight.recalled:
            return False
        tags = flight.verdict.stored.tags if isinstance(flight.verdict, Streaming) else None
        return (
            self.purges.find(flight.fill.stamp, flight.asked.request, tags, flight.fill.key).grade
            is Grade.NONE
        )

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

    async def carry_on(self, flight: Flight, response: OriginResponse) -> None:
        """A flight in the middle of whose body another lane has stopped."""
        try:
            await flight.carry_on(response)
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
        body: AsyncIterator[bytes] | bytes | None = None,
        body_length: int | None = None,
        on_interim: OnInterim | None = None,
        attempt: Attempt | None = None,
    ) -> Coroutine[Any, Any, OriginResponse]:
        """Ask the route's origin. `fields` are the client's, or what replaces them; `attempt` is what a lane has done
        of it already."""
        self.counters.origin(route.origin)["requests"] += 1

        def directly(attempt: Attempt | None = None) -> Coroutine[Any, Any, OriginResponse]:
            return self.origins_of(route).fetch(
                route.origin,
                self.origin_request(route, request, fields, query, peer=peer, trusted=trusted),
                body,
                body_length=body_length,
                on_interim=on_interim,
                key=self.place(route, request, query),
                attempt=attempt,
            )

        if self.shields is None or route.cache is None or not route.shield:
            return directly(attempt)
        asked = self.origin_request(route, request, fields, query, peer=peer, trusted=trusted, shield=True)
        return self.shields.fetch(
            request.scheme,
            asked,
            body,
            directly,
            body_length=body_length,
            on_interim=on_interim,
            attempt=attempt,
        )

    def place(self, route: Route, request: RequestHead, query: str | None) -> int:
        """What chooses a server where the route's origin goes by the key: the same for every node and variant."""
        if not self.origins_of(route).keyed(route.origin):
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

    def _woken(self) -> None:
        self.memory.woken()
        if self.relief is not None:
            self.relief.look()

    def log(self, entry: LogEntry) -> None:
        if self.access is not None:
            self.access.entry(entry)

    async def close(self) -> None:
        if self.memory.wake_fileno is not None:
            asyncio.get_running_loop().remove_reader(self.memory.wake_fileno)
        if self.relief is not None:
            self.relief.close()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
        self.coders.close()
        if self.disk is not None:
            self.disk.close()
        await self.origins.close()
        if self.shields is not None:
            await self.shields.close()


def _of_a_shield(route: Route) -> Route:
    targets = route.cache.targets if route.cache is not None else ()
    edits = replace(route.headers, response=shield_edits(route.headers.response, targets))
    return replace(route, headers=edits)
