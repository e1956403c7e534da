"""Shields between this edge and the origins: which one a key belongs to, and when the origin is asked directly.

Decides the order home shield → the others → the origin itself, within the same limits and deadlines as for any
pool. A shield that answers has answered, whatever it says. Must not know what a shield stores.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

from cdn.config.values import Origin, Shields
from cdn.rules.edge_word import FIELD, SHOWN_AS, word
from cdn.tier import tls as secure
from cdn.tier._wire import Connection
from cdn.tier.balance import hashed
from cdn.tier.call import Call
from cdn.tier.own import OwnServer
from cdn.tier.rendezvous import hash_of
from cdn.tier.seam import Kind, OnInterim, OriginError, OriginRequest, OriginResponse
from cdn.tier.upstream import Attempt, Upstream, repeatable

Direct = Callable[[], Awaitable[OriginResponse]]


class SecretError(ValueError):
    """The environment lacks the secret that edges and shields share; one sentence with the way out."""


def shared_secret(name: str | None, section: str) -> bytes | None:
    """What the environment variable `name` holds. Raises SecretError where it holds nothing of use."""
    if name is None:
        return None
    value = os.environ.get(name, "")
    if not value:
        raise SecretError(
            f"{section}: the environment variable {name} is not set; it holds the shared secret"
        )
    if len(value) < 16:
        raise SecretError(f"{section}: the secret in {name} is shorter than 16 characters; make a longer one")
    return value.encode()


def place(scheme: str, host: str, target: str) -> int:
    """What decides which shield a URL belongs to; the same on every edge."""
    return hash_of(f"{scheme}://{host}{target}".encode("latin-1", "replace"))


class ShieldPool:
    """The shields of `shields` for one worker; `place` says up to which purge of all nodes this one has come.

    Raises SecretError, and OSError for certificates of no use.
    """

    def __init__(
        self,
        shields: Shields,
        *,
        loop: asyncio.AbstractEventLoop | None = None,
        report: Callable[[str, str], None] = lambda kind, sentence: None,
        now: Callable[[], float] = time.time,
        place: Callable[[], object | None] = lambda: None,
    ) -> None:
        loop = loop or asyncio.get_running_loop()
        self._loop = loop
        self._now = now
        self._place = place
        self._secret = shared_secret(shields.secret_env, "shields")
        pool = Origin(
            "shields",
            shields.servers,
            balance="hash",
            timeouts=shields.timeouts,
            tls=shields.tls,
            retry=shields.retry,
            eject=shields.eject,
            connections=shields.connections,
            health=shields.health,
            resolve=shields.resolve,
        )
        https = any(server.address.scheme == "https" for server in pool.servers)
        context = secure.context(pool.tls) if https else None
        self._upstream = Upstream(pool, loop, context, report=report)
        self._upstream.start_checks()
        self._asked = 0
        self._direct = 0

    # --- a lane that asks by itself ---

    def kept(self, home: int) -> tuple[OwnServer, Connection] | None:
        """The shield of this place and a kept connection to it; the request needs a `say`. None: use `fetch`."""
        return self._upstream.kept_for(home)

    def say(self, scheme: str, method: str, host: str, target: str) -> str:
        """The word for one request; good for a minute."""
        return word(
            self._secret,
            now=int(self._now()),
            scheme=scheme,
            method=method,
            host=host,
            target=target,
            place=self._place(),
        )

    def again(self, server: OwnServer, error: OriginError, since: float) -> Attempt | None:
        """What `fetch` goes on with for a GET or HEAD that left at `since`, loop time, and that `server` has failed: it
        asks another shield, or directly. None: nobody else is asked."""
        return Attempt(since, server, None) if repeatable(error, "GET", False) else None

    def late(self) -> OriginError:
        """No shield has answered within the time for all of it."""
        return self._upstream.late()

    def asked(self, count: int) -> None:
        """So many were asked by lanes."""
        self._asked += count

    async def fetch(
        self,
        scheme: str,
        head: OriginRequest,
        body: AsyncIterator[bytes] | bytes | None,
        direct: Direct,
        *,
        body_length: int | None,
        on_interim: OnInterim | None = None,
        attempt: Attempt | None = None,
    ) -> OriginResponse:
        """Ask the shield that `scheme://host/target` belongs to; `direct` asks the origin. Raises OriginError.

        `attempt`: what a lane has done of that already.
        """
        host = head.host or ""
        method, target = head.method, head.target
        self._asked += 1
        if not self._healthy():
            self._direct += 1
            return await direct()

        async def one(server: OwnServer) -> OriginResponse:
            said = self.say(scheme, method, host, target)  # anew for each try
            asked = replace(head, fields=head.fields.without((FIELD,)).plus([(SHOWN_AS, said)]))
            return await server.fetch(Call(asked, host, body, body_length, on_interim))

        key = place(scheme, host, target)
        failed = attempt is not None and attempt.failed is not None
        if attempt and failed and not self._upstream.another(1, self._loop.time() - attempt.since):
            self._direct += 1
            return await direct()
        try:
            return await self._upstream.ask(method, body is not None, key, one, attempt)
        except OriginError as error:
            busy = error.kind in (Kind.QUEUE_FULL, Kind.QUEUE_TIMEOUT, Kind.NO_SERVER) and not error.sent
            if not (busy or repeatable(error, method, body is not None)):
                raise
            self._direct += 1
            return await direct()

    def _healthy(self) -> bool:
        now = int(self._loop.time() * 1000)
        return any(server.health.fit(now) for server in self._upstream.servers)

    def home(self, scheme: str, host: str, target: str) -> str | None:
        """The shield that a request would go to now, None: the origin is asked directly. Asks nobody."""
        now = int(self._loop.time() * 1000)
        fit = [server for server in self._upstream.servers if server.health.fit(now)]
        return hashed(fit, now, place(scheme, host, target)).name if fit else None

    def stats(self) -> dict[str, Any]:
        """Requests, how many of them went to an origin directly, and what is known of each shield."""
        return {"requests": self._asked, "direct": self._direct, **self._upstream.stats()}

    async def retire(self) -> None:
        """Keep no connection any more, let what is under way end by itself, then close; at once when cancelled."""
        self._upstream.keep_no_connections()
        try:
            await self._upstream.idle()
        finally:
            await self.close()

    async def close(self) -> None:
        await self._upstream.close()
