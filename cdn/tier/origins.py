"""All origins of a configuration, one object a worker: what an exchange asks, and who lives how long.

Decides what a reload keeps of the old servers' health, and that https is verified. Must not know which server is
asked, framing or pools.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

from cdn.config.values import Origin, Server
from cdn.tier import tls as secure
from cdn.tier.call import Call, host_value
from cdn.tier.directory import DirectoryOrigin
from cdn.tier.own import OwnServer
from cdn.tier.resolving import Resolver, system_resolver
from cdn.tier.s3.origin import BucketOrigin, credentials
from cdn.tier.seam import (
    DEFAULT_UPGRADES,
    Kind,
    OnInterim,
    OriginError,
    OriginRequest,
    OriginResponse,
    Tunnel,
    allowed_upgrade,
)
from cdn.tier.upstream import Attempt, Upstream


class Origins:
    """Every origin of `origins`, with its kept connections. Make one a worker, inside the running loop.

    `tls` verifies https servers where given, instead of what each origin says. `upgrades` are the protocols that
    `upgrade` may ask for. `start` moves the first server picked, so that workers do not all begin with the same one; by
    default it is random. `report(kind, sentence)` hears of changes of health. `before` is what this one replaces:
    servers that stay go on with their health. Raises OSError (ssl.SSLError is one) for certificates that can't be used,
    CredentialsError for a bucket without keys in the environment.
    """

    def __init__(
        self,
        origins: Mapping[str, Origin],
        *,
        loop: asyncio.AbstractEventLoop | None = None,
        tls: ssl.SSLContext | None = None,
        upgrades: frozenset[str] = DEFAULT_UPGRADES,
        start: int | None = None,
        resolver: Resolver = system_resolver,
        report: Callable[[str, str], None] = lambda kind, sentence: None,
        before: Origins | None = None,
    ) -> None:
        loop = loop or asyncio.get_running_loop()
        if start is None:
            start = random.randrange(1 << 16)
        self.upgrades = upgrades - {"h2c"}
        origins = {name: _with_servers(origin) for name, origin in origins.items()}
        contexts = {
            name: (tls or secure.context(origin.tls)) if _is_secure(origin) else None
            for name, origin in origins.items()
        }
        self._upstreams = {
            name: Upstream(origin, loop, contexts[name], start=start, resolver=resolver, report=report)
            for name, origin in origins.items()
        }
        self._folders = {
            name: DirectoryOrigin(name, origin.directory, report)
            for name, origin in origins.items()
            if origin.directory is not None
        }
        self._buckets = {
            name: BucketOrigin(self._upstreams[name], origin.s3, credentials(name, origin.s3))
            for name, origin in origins.items()
            if origin.s3 is not None
        }
        if before is not None:
            self._take(before)
        for upstream in self._upstreams.values():
            upstream.start_checks()
        self._closed = False

    def _take(self, before: Origins) -> None:
        for name, upstream in self._upstreams.items():
            old = before._upstreams.get(name)
            known = {} if old is None else {server.name: server for server in old.servers}
            for server in upstream.servers:
                if server.name in known:
                    server.health.take(known[server.name].health)

    async def fetch(
        self,
        origin: str,
        head: OriginRequest,
        body: AsyncIterator[bytes] | bytes | None,
        *,
        body_length: int | None,
        on_interim: OnInterim | None = None,
        key: int = 0,
        attempt: Attempt | None = None,
    ) -> OriginResponse:
        """Send one request and wait for the final response's head. Raises OriginError.

        `body` is read while the origin takes it, and no further once a status >= 300, the response's end or
        `abort` made the rest unwanted; then, as at its end, its `aclose` is called where it has one. With
        `body_length` None it is sent in chunks, otherwise with this Content-Length. An exception that `body`
        raises before the response's head came is raised here as it is; after that, `read` raises
        OriginError(REQUEST_BODY) caused by it. `on_interim` hears 102, 103 and other interim responses but
        100 (RFC 9110 §15.2). `key` is `rendezvous.hash_of` the cache key, for origins that are `keyed`;
        `attempt` what a lane has done of it already.
        """
        upstream = self.upstream(origin)
        if origin in self._folders:
            return await self._folders[origin].fetch(head)
        if origin in self._buckets:
            return await self._buckets[origin].fetch(head, key)

        async def one(server: OwnServer) -> OriginResponse:
            host = host_value(upstream.origin, server.address, head)
            return await server.fetch(Call(head, host, body, body_length, on_interim))

        return await upstream.ask(head.method, body is not None, key, one, attempt)

    async def upgrade(
        self, origin: str, head: OriginRequest, *, protocol: str = "websocket", key: int = 0
    ) -> OriginResponse | Tunnel:
        """Ask the origin to switch to `protocol`: a Tunnel after its 101, otherwise its ordinary response.

        The client's Upgrade field gives `protocol` through `allowed_upgrade(value, origins.upgrades)`; one
        that is not allowed raises OriginError(UNSENDABLE). Nothing of the client's may be sent behind the
        request before the 101.
        """
        upstream = self.upstream(origin)
        name = allowed_upgrade(protocol, self.upgrades)
        if name is None:
            raise OriginError(Kind.UNSENDABLE, "this upgrade is not allowed")
        if origin in self._folders or origin in self._buckets:
            return await self.fetch(origin, head, None, body_length=None)

        async def one(server: OwnServer) -> OriginResponse | Tunnel:
            return await server.upgrade(Call(head, host_value(upstream.origin, server.address, head)), name)

        return await upstream.ask(head.method, False, key, one)

    def keyed(self, origin: str) -> bool:
        """Whether the origin's servers are chosen by the key."""
        upstream = self._upstreams.get(origin)
        return upstream is not None and upstream.origin.balance == "hash"

    def upstream(self, origin: str) -> Upstream:
        """The origin of that name. Raises OriginError(NO_SERVER)."""
        upstream = self._upstreams.get(origin)
        if upstream is None or self._closed:
            raise OriginError(Kind.NO_SERVER, f"no origin {origin} is configured")
        return upstream

    def stats(self) -> dict[str, dict[str, Any]]:
        """By origin: further tries, the queue, and each server's state, figures and connections."""
        return {name: upstream.stats() for name, upstream in self._upstreams.items()}

    async def retire(self, askers: Collection[asyncio.Task[Any]] = ()) -> None:
        """Keep no connection any more, let exchanges and tunnels under way end by themselves, then close.

        `askers` may still ask until they have ended. When this is cancelled, everything is closed at once.
        """
        try:
            for upstream in self._upstreams.values():
                await upstream.stop_checks()
                upstream.keep_no_connections()
            if askers:
                await asyncio.wait(askers)
            for upstream in self._upstreams.values():
                await upstream.idle()
        finally:
            await self.close()

    async def close(self) -> None:
        """Close every connection; exchanges under way fail with RESET. Idempotent."""
        self._closed = True
        for upstream in self._upstreams.values():
            await upstream.close()


def _with_servers(origin: Origin) -> Origin:
    """A bucket's endpoint is the server of its origin."""
    return origin if origin.s3 is None else replace(origin, servers=(Server(origin.s3.endpoint),))


def _is_secure(origin: Origin) -> bool:
    return any(server.address.scheme == "https" for server in (*origin.servers, *origin.backup))
