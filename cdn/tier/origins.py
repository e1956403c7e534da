"""All origins of a configuration, one object a worker: which client asks which server, and what is tried
again.

Decides the client by scheme (our own for http, the general one for https), and asks the next server when no
connection came to be. Must not know framing or pools.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TypeVar

from cdn.config.values import Address, Origin
from cdn.tier.balance import Balancer
from cdn.tier.call import Call, host_value
from cdn.tier.general import GeneralServer, carries
from cdn.tier.own import OwnServer
from cdn.tier.seam import (
    CONNECT_FAILURES,
    DEFAULT_UPGRADES,
    Kind,
    OnInterim,
    OriginError,
    OriginRequest,
    OriginResponse,
    Tunnel,
    allowed_upgrade,
)

RETIRING = 0.5  # seconds between two looks at whether exchanges under way have ended
TRIES = 3  # servers asked for one request, at most

Answer = TypeVar("Answer")


class _Server:
    """One server of an origin with both its clients; the general one only where it is needed."""

    def __init__(
        self, origin: Origin, address: Address, loop: asyncio.AbstractEventLoop, tls: ssl.SSLContext | None
    ) -> None:
        self.address = address
        self.own = OwnServer(origin, address, loop, tls)
        self.general = GeneralServer(origin, address, loop, tls) if address.scheme == "https" else None

    async def fetch(self, call: Call) -> OriginResponse:
        if self.general is not None and carries(self.address, call):
            return await self.general.fetch(call)
        return await self.own.fetch(call)

    @property
    def busy(self) -> bool:
        """Whether an exchange or a tunnel is under way."""
        return self.own.pool.live_count > 0 or (self.general is not None and self.general.busy)

    async def close(self) -> None:
        await self.own.close()
        if self.general is not None:
            await self.general.close()


class _Upstream:
    def __init__(
        self, origin: Origin, loop: asyncio.AbstractEventLoop, tls: ssl.SSLContext | None, start: int
    ) -> None:
        self.origin = origin
        self._loop = loop
        self._balancer = Balancer([server.weight for server in origin.servers], start=start)
        self.servers = [_Server(origin, server.address, loop, tls) for server in origin.servers]

    async def ask(self, one: Callable[[_Server], Awaitable[Answer]]) -> Answer:
        """Let `one` ask a server; the next one, TRIES in all, while no connection comes to be."""
        tried: list[int] = []
        failure = OriginError(Kind.NO_SERVER, f"origin {self.origin.name} has no server")
        while len(tried) < TRIES:
            index = self._balancer.pick(self._now(), tried)
            if index is None:
                break
            tried.append(index)
            try:
                answer = await one(self.servers[index])
            except OriginError as error:
                if error.kind not in CONNECT_FAILURES:
                    raise
                self._balancer.failed(index, self._now())
                failure = error
                continue
            self._balancer.worked(index)
            return answer
        raise failure

    def _now(self) -> int:
        return int(self._loop.time() * 1000)


class Origins:
    """Every origin of `origins`, with its kept connections. Make one a worker, inside the running loop.

    `tls` verifies https servers; by default the system's authorities do (SSL_CERT_FILE and SSL_CERT_DIR are
    heeded). `upgrades` are the protocols that `upgrade` may ask for. `start` moves the first server picked,
    so that workers do not all begin with the same one; by default it is random.
    """

    def __init__(
        self,
        origins: Mapping[str, Origin],
        *,
        loop: asyncio.AbstractEventLoop | None = None,
        tls: ssl.SSLContext | None = None,
        upgrades: frozenset[str] = DEFAULT_UPGRADES,
        start: int | None = None,
    ) -> None:
        loop = loop or asyncio.get_running_loop()
        if tls is None and any(s.address.scheme == "https" for o in origins.values() for s in o.servers):
            tls = ssl.create_default_context()
            tls.set_alpn_protocols(["http/1.1"])
        if start is None:
            start = random.randrange(1 << 16)
        self.upgrades = upgrades - {"h2c"}
        self._upstreams = {name: _Upstream(origin, loop, tls, start) for name, origin in origins.items()}
        self._closed = False

    async def fetch(
        self,
        origin: str,
        head: OriginRequest,
        body: AsyncIterator[bytes] | None,
        *,
        body_length: int | None,
        on_interim: OnInterim | None = None,
    ) -> OriginResponse:
        """Send one request and wait for the final response's head. Raises OriginError.

        `body` is read while the origin takes it, and no further once a status >= 300, the response's end or
        `abort` made the rest unwanted; then, as at its end, its `aclose` is called where it has one. With
        `body_length` None it is sent in chunks, otherwise with this Content-Length. An exception that `body`
        raises before the response's head came is raised here as it is; after that, `read` raises
        OriginError(REQUEST_BODY) caused by it. `on_interim` hears 102, 103 and other interim responses but
        100 (RFC 9110 §15.2), from own-client origins only.
        """
        upstream = self._upstream(origin)

        async def one(server: _Server) -> OriginResponse:
            host = host_value(upstream.origin, server.address, head)
            return await server.fetch(Call(head, host, body, body_length, on_interim))

        return await upstream.ask(one)

    async def upgrade(
        self, origin: str, head: OriginRequest, *, protocol: str = "websocket"
    ) -> OriginResponse | Tunnel:
        """Ask the origin to switch to `protocol`: a Tunnel after its 101, otherwise its ordinary response.

        The client's Upgrade field gives `protocol` through `allowed_upgrade(value, origins.upgrades)`; one
        that is not allowed raises OriginError(UNSENDABLE). Nothing of the client's may be sent behind the
        request before the 101.
        """
        upstream = self._upstream(origin)
        name = allowed_upgrade(protocol, self.upgrades)
        if name is None:
            raise OriginError(Kind.UNSENDABLE, "this upgrade is not allowed")

        async def one(server: _Server) -> OriginResponse | Tunnel:
            return await server.own.upgrade(
                Call(head, host_value(upstream.origin, server.address, head)), name
            )

        return await upstream.ask(one)

    def _upstream(self, origin: str) -> _Upstream:
        upstream = self._upstreams.get(origin)
        if upstream is None or self._closed:
            raise OriginError(Kind.NO_SERVER, f"no origin {origin} is configured")
        return upstream

    async def retire(self) -> None:
        """Keep no connection any more, let exchanges and tunnels under way end by themselves, then close.

        When it is cancelled, everything is closed at once.
        """
        servers = [server for upstream in self._upstreams.values() for server in upstream.servers]
        try:
            for server in servers:
                server.own.pool.retire()
            while any(server.busy for server in servers):  # noqa: ASYNC110 - many ends, no hurry
                await asyncio.sleep(RETIRING)
        finally:
            await self.close()

    async def close(self) -> None:
        """Close every connection; exchanges under way fail with RESET. Idempotent."""
        self._closed = True
        for upstream in self._upstreams.values():
            for server in upstream.servers:
                await server.close()
