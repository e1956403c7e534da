"""A worker: the listeners, the lanes and the exchanges of one event loop, assembled.

Decides what is built from a configuration and in which order it starts and ends. It must not know processes, signals or
the admin listener; `control` drives it through the methods here.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Any

from cdn.config.values import Address, Config, Listener
from cdn.proxy import explaining, tls
from cdn.proxy._fill import FillLane
from cdn.proxy._front import Census, ClientStream, Front, Wheel
from cdn.proxy._lane import HitLane, NameSet
from cdn.proxy._log import HitLog
from cdn.proxy._variants import Normaliser
from cdn.proxy.clock import Clock
from cdn.proxy.exchange import Exchange
from cdn.proxy.log_entry import AccessSink
from cdn.proxy.lookup import normal_value
from cdn.proxy.purging import Named, named, purge_named, purge_url, request_for
from cdn.proxy.site import Site
from cdn.rules.outcome import Outcome
from cdn.store import open_memory

BACKLOG = 4096
HANDSHAKE = 10.0  # seconds


class BindError(OSError):
    """A listener's address could not be had; `address` says which."""

    def __init__(self, address: Address, cause: OSError) -> None:
        super().__init__(cause.errno, cause.strerror or str(cause))
        self.address = address


class Worker:
    """`access_log` gets the lines of every lane; `report(kind, sentence)` those of the node's own log."""

    def __init__(
        self,
        config: Config,
        clock: Clock | None = None,
        access_log: AccessSink | None = None,
        report: Callable[[str, str], None] | None = None,
    ) -> None:
        self.config = config
        self.clock = clock or Clock()
        self.ports: list[int] = []
        self._access = access_log
        self._report = report or (lambda kind, sentence: None)
        self._servers: list[asyncio.AbstractServer] = []
        self._fronts: list[Front] = []
        self._accepting: list[tuple[socket.socket, asyncio.Task[None]]] = []  # TLS listeners

    async def start(self) -> None:
        """Open the store and listen. Raises BindError, ssl.SSLError, OSError, store.StoreError."""
        config, loop = self.config, asyncio.get_running_loop()
        self.memory = open_memory(config.store)
        self.site = Site(config, self.memory, self.clock, self._access, self._report)
        self.lane = HitLane(self.memory, self.clock, self.site.name, Normaliser(normal_value))
        self.lane.use(self.site.table)
        self.census = Census(config.limits.connections, config.limits.connections_per_address)
        self.wheel = Wheel(loop)
        self._log = HitLog(loop, self._access, self.clock) if self._access is not None else None
        self.fill_lane = FillLane(self.site, self.lane, self._log, loop)
        self.fill_lane.use()
        try:
            for listener in config.listen:
                await self._listen(loop, listener)
        except BaseException:
            await self.stop()
            raise

    async def _listen(self, loop: asyncio.AbstractEventLoop, listener: Listener) -> None:
        context: ssl.SSLContext | None = None
        names: NameSet | None = None
        if listener.address.scheme == "https":
            context, names = tls.context(listener), tls.names(listener)
        front = Front(
            loop,
            self.lane,
            self.wheel,
            self.census,
            self._exchange,
            self._refuse,
            secure=context is not None,
            names=names,
            log=self._log,
            limits=self.config.limits,
            timeouts=self.config.timeouts,
            second=self.fill_lane,
        )
        try:
            server = await loop.create_server(
                front.protocol,
                listener.address.host,
                listener.address.port,
                backlog=BACKLOG,
                start_serving=context is None,
            )
        except OSError as error:
            raise BindError(listener.address, error) from error
        self._fronts.append(front)
        self._servers.append(server)
        if context is not None:
            for bound in server.sockets:
                sock = socket.socket(fileno=os.dup(bound.fileno()))
                sock.setblocking(False)
                sock.listen(BACKLOG)
                self._accepting.append((sock, loop.create_task(tls.accept(front, sock, context, HANDSHAKE))))
        self.ports.append(server.sockets[0].getsockname()[1])

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

    def reload(self, config: Config) -> None:
        """Take routes, origins, limits and timeouts of a new configuration; listeners and store stay what they are.

        ValueError, and nothing has changed, where an origin's certificates can't be used.
        """
        self.site.reconfigure(config)
        self.config = config
        self.lane.use(self.site.table)
        self.fill_lane.use()
        for front in self._fronts:
            front.configure(config.limits, config.timeouts)

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
        out["connections"] = census
        for name, pool in self.site.origins.stats().items():
            out["origins"][name] = {**self.site.counters.origin(name), **pool}
        out["store"] = self.memory.stats()
        out["flights"] = len(self.site.flights)
        out["coding"] = self.site.coders.stats()
        if self.site.shields is not None:
            out["shields"] = self.site.shields.stats()
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

        Returns how many stored objects the URLs (or `all`) reached; the rest is noted and holds whenever it is met.
        """
        for url in urls:
            request_for(url)
        names = named(tags, prefixes, hosts)
        if all:
            return self.memory.purge_all(soft, self.clock.now())
        if names != Named():
            purge_named(self.site, names, soft)
        return sum(purge_url(self.site, url, soft) for url in urls)

    def explain(self, url: str, fields: list[tuple[str, str]]) -> dict[str, Any]:
        """What a request for this URL would get, and why. ValueError for what is no absolute URL."""
        return explaining.explain(self.site, url, fields)

    def flush_log(self) -> None:
        if self._log is not None:
            self._log.flush()

    async def drain(self, seconds: float) -> None:
        """Take no new connections, let exchanges finish, at most for so long."""
        await self._close_listeners()
        for front in self._fronts:
            front.drain()
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while any(front.connections for front in self._fronts) and loop.time() < end:  # noqa: ASYNC110
            await asyncio.sleep(0.05)

    async def _close_listeners(self) -> None:
        for server in self._servers:
            server.close()
        accepting, self._accepting = self._accepting, []
        for _, task in accepting:
            task.cancel()
        await asyncio.gather(*(task for _, task in accepting), return_exceptions=True)
        for sock, _ in accepting:
            sock.close()

    async def stop(self) -> None:
        """Close everything at once."""
        await self._close_listeners()
        for front in self._fronts:
            front.abort()
        self.wheel.close()
        await self.site.close()
        await asyncio.sleep(0)  # the transports' connection_lost
        self.flush_log()
        self._servers.clear()
        self._fronts.clear()
