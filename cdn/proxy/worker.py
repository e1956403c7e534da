"""A worker: the listeners, the lanes and the exchanges of one event loop, assembled.

Decides what is built from a configuration and in which order it starts and ends. It must not know processes, signals or
the admin listener; `control` drives it through the methods here.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import ssl
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from cdn.config.values import Config, Listener
from cdn.proxy import durable, explaining, tls
from cdn.proxy._fill import FillLane
from cdn.proxy._front import Census, ClientStream, Entrance, Front, Lookout, Wheel
from cdn.proxy._lane import HitLane, NameSet
from cdn.proxy._log import HitLog
from cdn.proxy._variants import Normaliser
from cdn.proxy.clock import Clock
from cdn.proxy.disk import DiskTier
from cdn.proxy.exchange import Exchange
from cdn.proxy.listening import bind, connecting, tell_of_the_first_bytes, turn_away
from cdn.proxy.log_entry import AccessSink
from cdn.proxy.lookup import normal_value
from cdn.proxy.purge_log import PurgeLog
from cdn.proxy.purging import drop, equivalent_keys, key_of, named
from cdn.proxy.relief import Relief
from cdn.proxy.shared import Shared, share, workers_of
from cdn.proxy.site import Prepared, Site
from cdn.proxy.spreading import Spread
from cdn.rules.outcome import Outcome
from cdn.store.disk.times import Times

HANDSHAKE = 10.0  # seconds
# seconds that a connection has for its first bytes when no more are let in; the kernel tells of silent ones after one
LAST_WORD = 2.0
# bytes of memory that may wait for the disk, of all workers together; at most a quarter of it
DISK_QUEUE = 64 << 20


class Worker:
    """`access_log` gets the lines of every lane; `report(kind, sentence)` those of the node's own log.

    `shared` is this process's own view of what the workers have in common: the worker closes its sockets. Without it
    the worker makes its own, at the time of `clock`.
    """

    def __init__(
        self,
        config: Config,
        clock: Clock | None = None,
        access_log: AccessSink | None = None,
        report: Callable[[str, str], None] | None = None,
        *,
        shared: Shared | None = None,
    ) -> None:
        self.config = config
        self.clock = shared.clock if shared is not None else clock or Clock()
        self.ports: list[int] = []
        self._shared = shared
        self._access = access_log
        self._report = report or (lambda kind, sentence: None)
        self._entrance: Entrance | None = None  # of plain listeners
        self._acceptors: list[tls.Acceptor] = []  # TLS listeners
        self._fronts: list[Front] = []
        self._prepared: Prepared | None = None
        self._takers: list[Callable[[socket.socket], None]] = []  # of each listener
        self._spread: Spread | None = None

    async def start(self) -> None:
        """Serve. BindError, ssl.SSLError, OSError, store.StoreError, ValueError: and nothing is left behind then."""
        config, loop = self.config, asyncio.get_running_loop()
        shared = self._shared
        if shared is None:
            shared = share(config, [bind(listener.address) for listener in config.listen], self.clock)
        self._shared = shared
        self.memory = shared.memory
        try:
            self.site = Site(
                config, self.memory, self.clock, self._access, self._report, PurgeLog(shared.journal)
            )
        except BaseException:
            shared.close()
            raise
        self.lane = HitLane(
            self.memory,
            shared.journal,
            self.clock,
            self.site.name,
            Normaliser(normal_value),
            self.site.edges.words,
        )
        self.lane.use(self.site.table)
        doors = shared.doors
        board = doors.board if doors is not None else None
        self.census = Census(config.limits.connections, config.limits.connections_per_address, board)
        self.wheel = Wheel(loop)
        self.lookout = Lookout(loop, (config.busy_poll or 0) * 1_000)
        self._entrance = Entrance(loop, self.lookout)
        self._log = HitLog(loop, self._access, self.clock) if self._access is not None else None
        self.site.relief = Relief(self.memory, self._fronts, partial(self._report, "pinned"))
        self.fill_lane = FillLane(self.site, self.lane, self._log, loop)
        self.fill_lane.use()
        self._start_disk(shared, loop)
        try:
            for listener, sockets in zip(config.listen, shared.sockets, strict=True):
                self._listen(loop, self._entrance, listener, sockets)
            if doors is not None:
                self._spread = Spread(doors, loop, self._take_over)
        except BaseException:
            await self.stop()
            raise

    def _start_disk(self, shared: Shared, loop: asyncio.AbstractEventLoop) -> None:
        disk, memory = shared.disk, shared.memory
        if disk is None:
            return

        def say(sentence: str) -> None:
            try:
                loop.call_soon_threadsafe(self._report, "disk", sentence)
            except RuntimeError:
                return  # the loop has ended; this was about its last batch

        clock = self.clock
        make_durable = partial(durable.persist, disk, shared.journal, clock)
        disk.start(
            Times(clock.now, clock.wall, clock.boot),
            min(DISK_QUEUE, memory.size // 4) // workers_of(self.config),
            say,
            keep=lambda key: memory.lookup(key) is not None,
            notes=make_durable,
        )
        memory.tier = disk
        self.site.disk = self.fill_lane.disk = DiskTier(disk, memory, make_durable)

    async def _stop_disk(self) -> None:
        """What is on its way to the disk is written, within a bound."""
        disk = self._shared.disk if self._shared is not None else None
        if disk is not None:
            self.memory.tier = None
            await asyncio.to_thread(disk.close)

    def _listen(
        self,
        loop: asyncio.AbstractEventLoop,
        entrance: Entrance,
        listener: Listener,
        sockets: Sequence[socket.socket],
    ) -> None:
        context: ssl.SSLContext | None = None
        names: NameSet | None = None
        if listener.address.scheme == "https":
            context, names = tls.context(listener), tls.names(listener)
        front = Front(
            loop,
            self.lane,
            self.wheel,
            self.census,
            self.lookout,
            self._exchange,
            self._refuse,
            secure=context is not None,
            names=names,
            log=self._log,
            limits=self.config.limits,
            timeouts=self.config.timeouts,
            second=self.fill_lane,
        )
        number = len(self._fronts)
        self._fronts.append(front)
        give = partial(self._give, number) if self.census.board is not None else None
        take = partial(_let_in, entrance, front)
        for sock in sockets:
            if context is not None:
                acceptor = tls.Acceptor(front, sock.dup(), context, HANDSHAKE)
                acceptor.give = give
                take = partial(_shake, acceptor)
                self._acceptors.append(acceptor)
            else:
                front.give = give
                tell_of_the_first_bytes(sock)
                entrance.listen(sock.dup(), front)
        self._takers.append(take)
        self.ports.append(sockets[0].getsockname()[1])

    def _give(self, listener: int, fd: int) -> bool:
        return self._spread is not None and self._spread.give(listener, fd)

    def _take_over(self, listener: int, sock: socket.socket) -> None:
        """A connection of that listener which another worker accepted."""
        sock.setblocking(False)
        self._takers[listener](sock)

    def _exchange(self, stream: ClientStream) -> None:
        stream.task = self.site.spawn(Exchange(self.site, stream).run())

    def _refuse(self, stream: ClientStream, status: int, name: str) -> None:
        """A fault in framing: answered at once, closed behind, logged in one line."""
        exchange = Exchange(self.site, stream)
        try:
            exchange.say(status, outcome=Outcome.ERROR, cause=name)
        except ConnectionResetError:
            stream.cut()
        exchange.finish_log()

    # --- what control asks of a worker ---

    def prepare(self, config: Config) -> None:
        """Compile a new configuration, for `adopt` or `discard`. ValueError, and nothing has changed, when it can't be
        taken."""
        self.discard()
        try:
            self._prepared = self.site.prepare(config)
        except OSError as error:
            raise ValueError(f"a certificate or key of an origin can't be used: {error}") from error

    def discard(self) -> None:
        """What was prepared is not taken."""
        prepared, self._prepared = self._prepared, None
        if prepared is not None and prepared.origins is not None:
            self.site.spawn(prepared.origins.close())

    def adopt(self) -> None:
        """Take routes, origins, limits and timeouts of what was prepared; listeners and store stay what they are.

        What is stored is decided again by them once a new epoch begins, in all workers at once: `PurgeLog.new_epoch`.
        """
        prepared, self._prepared = self._prepared, None
        if prepared is None:
            raise ValueError("no configuration was prepared")
        self.config = prepared.config
        self.site.adopt(prepared)
        self.lane.use(self.site.table)
        self.fill_lane.use()
        for front in self._fronts:
            front.configure(prepared.config.limits, prepared.config.timeouts)

    def reload(self, config: Config) -> None:
        """All of it, for a worker that is alone."""
        self.prepare(config)
        self.adopt()
        self.site.purges.new_epoch(self.clock.now())

    def stats(self) -> dict[str, Any]:
        """Counters since the start; the hit lane's answers count as hits like any other."""
        lane = self.lane.stats()
        self.fill_lane.flush()
        out = self.site.counters.stats()
        census = self.census.stats()
        out["outcomes"][Outcome.HIT.value] += lane["hits"]
        out["lanes"] = {"hit": lane["hits"], **out["lanes"]}
        out["hit_lane"] = lane
        out["exchanges"] += self.fill_lane.active
        out["fill_lane"] = {"handed_over": self.fill_lane.handed_over}
        out["refused"] = census.pop("faults")
        out["bytes"] = {"out": census.pop("bytes_out")}
        census["cut_for_memory"] += self.site.evicted
        out["connections"] = census
        for name, pool in self.site.origins.stats().items():
            out["origins"][name] = {**self.site.counters.origin(name), **pool}
        out["store"] = self.memory.stats()
        out["flights"] = len(self.site.flights)
        out["coding"] = self.site.coders.stats()
        if self.site.shields is not None:
            out["shields"] = self.site.shields.stats()
        if self.site.disk is not None:
            out["disk"] = self.site.disk.stats()
        elif self._shared is not None and self._shared.trouble is not None:
            out["disk"] = {"failing": 1}
        return out

    def purge(
        self,
        urls: list[str],
        all: bool,
        soft: bool,
        tags: Sequence[str] = (),
        prefixes: Sequence[str] = (),
        hosts: Sequence[str] = (),
    ) -> int:
        """Purge these, or everything; in force when it returns. ValueError, and nothing is done, for what is none.

        Returns how many of the URLs had something stored, or with `all` how much was; the rest is noted and holds
        whenever it is met.
        """
        keys = {key_of(self.site.table, url) for url in urls} | self.equivalent_keys(urls)
        names = named(tags, prefixes, hosts)
        self.site.purges.purge(
            names.tags, names.prefixes, names.hosts, soft, self.clock.now(), urls=keys, everything=all
        )
        if self.site.disk is not None:
            self.site.disk.note_soon()
        return int(self.memory.stats()["objects"]) if all else self.drop(keys, soft)

    def equivalent_keys(self, urls: Sequence[str]) -> set[bytes]:
        """The keys from which this worker would answer these URLs, beside their own. ValueError for what is no URL."""
        return equivalent_keys(self.site, urls)

    def drop(self, keys: Iterable[bytes], soft: bool) -> int:
        """Of a purge that is noted: free what lies under these keys; how many of them had something stored."""
        return drop(self.site, keys, soft)

    def explain(self, url: str, fields: list[tuple[str, str]]) -> dict[str, Any]:
        """What a request for this URL would get, and why. ValueError for what is no absolute URL."""
        return explaining.explain(self.site, url, fields)

    def flush_log(self) -> None:
        if self._log is not None:
            self._log.flush()

    async def drain(self, seconds: float) -> bool:
        """Take no new connections, let exchanges finish, at most for so long; whether all of them have.

        Who waits in a listener's queue is still taken and gets one answer.
        """
        for front in self._fronts:
            front.drain()
        await self._end_arrivals()
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while self._occupied() and loop.time() < end:  # noqa: ASYNC110 - many ends, no hurry
            await asyncio.sleep(0.05)
        return not self._occupied()

    def _occupied(self) -> bool:
        return any(front.connections for front in self._fronts) or any(a.handshakes for a in self._acceptors)

    async def _end_arrivals(self) -> None:
        for sock in itertools.chain(*self._shared.sockets) if self._shared is not None else ():
            turn_away(sock)
        for front in self._fronts:
            front.give = None
        for acceptor in self._acceptors:
            acceptor.give = None
        await self._last_arrivals()
        for acceptor in self._acceptors:
            await acceptor.end()
        if self._spread is not None:
            self._spread.end()
        if self._entrance is not None:
            self._entrance.end()
        if self._shared is not None:
            self._shared.close()

    async def _last_arrivals(self) -> None:
        """Who has connected as far as it knows, but has said nothing yet, gets a moment to."""
        loop = asyncio.get_running_loop()
        end = loop.time() + LAST_WORD
        while loop.time() < end and await asyncio.to_thread(connecting, self.ports):  # noqa: ASYNC110
            await asyncio.sleep(0.02)

    async def stop(self) -> None:
        """Close everything at once."""
        if self._entrance is not None:
            self._entrance.shut()
        acceptors, self._acceptors = self._acceptors, []
        for acceptor in acceptors:
            await acceptor.close()
        if self._shared is not None:
            self._shared.close()
        if self._spread is not None:
            self._spread.close()
        for front in self._fronts:
            front.abort()
        self.wheel.close()
        await self.site.close()
        await self._stop_disk()
        await asyncio.sleep(0)  # the transports' connection_lost
        if self._entrance is not None:
            self._entrance.close()
        self.flush_log()
        self._fronts.clear()


def _let_in(entrance: Entrance, front: Front, sock: socket.socket) -> None:
    entrance.take(front, sock.detach())


def _shake(acceptor: tls.Acceptor, sock: socket.socket) -> None:
    try:
        peer = sock.getpeername()
    except OSError:
        sock.close()
    else:
        acceptor.take(sock, peer)
