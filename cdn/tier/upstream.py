"""One origin: which of its servers a request goes to, what waits for a place, and what is asked again.

Decides the order primaries → backups → whoever comes back first; that a further try is only made where it is safe,
within the budget and in time; and how long a request waits for a server that is at its limit. Must not know framing,
nor how a connection is made.
"""

from __future__ import annotations

import asyncio
import math
import ssl
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from cdn.config.values import Origin
from cdn.tier._standing import Choice
from cdn.tier._wire import Connection
from cdn.tier.balance import hashed, least_connections, round_robin
from cdn.tier.budget import Budget
from cdn.tier.checking import watch
from cdn.tier.own import OwnServer, WireResponse
from cdn.tier.resolving import Resolver, system_resolver
from cdn.tier.seam import CONNECT_FAILURES, IDEMPOTENT, Kind, OriginError

MAX_CYCLE = 1_000

RETIRING = 0.5  # seconds between two looks at whether what is under way has ended

Answer = TypeVar("Answer")
Ask = Callable[[OwnServer], Awaitable[Answer]]

PROMISED = 0.5  # seconds that a server which was picked waits to be asked

POLICIES: dict[str, Callable[[Sequence[OwnServer], int, int], OwnServer]] = {
    "round_robin": round_robin,
    "least_connections": least_connections,
    "hash": hashed,
}


@dataclass(frozen=True, slots=True)
class Attempt:
    """What a lane has done for a request that `ask` goes on with: since when (loop time), which server has failed it
    (None: none that counts, its kept connection was dead), and which is asked next (None: not chosen yet)."""

    since: float
    failed: OwnServer | None
    other: OwnServer | None


class _Waiter:
    __slots__ = ("future", "key", "tried")

    def __init__(self, future: asyncio.Future[OwnServer], key: int, tried: Collection[OwnServer]) -> None:
        self.future = future
        self.key = key
        self.tried = tried


def repeatable(error: OriginError, method: str, has_body: bool) -> bool:
    """Whether another server may be asked after this failure (RFC 9110 §9.2.2).

    Where not even a connection came to be, anything may: nothing of the request has left. Otherwise only what is
    idempotent, has no body (which can't be read twice) and got no byte of an answer.
    """
    if error.kind in CONNECT_FAILURES and not error.sent:
        return True
    return (
        error.kind in (Kind.RESET, Kind.FIRST_BYTE_TIMEOUT, Kind.TLS)
        and not error.received
        and not has_body
        and (not error.sent or method in IDEMPOTENT)
    )


class Upstream(Choice):
    """`report(kind, sentence)` hears of changes of a server's health or addresses."""

    def __init__(
        self,
        origin: Origin,
        loop: asyncio.AbstractEventLoop,
        tls: ssl.SSLContext | None,
        *,
        start: int = 0,
        resolver: Resolver = system_resolver,
        report: Callable[[str, str], None] = lambda kind, sentence: None,
    ) -> None:
        self.origin = origin
        self._loop = loop
        self._checks: list[asyncio.Task[None]] = []
        self._choose = POLICIES[origin.balance]
        self._budget = Budget(origin.retry.budget, origin.retry.minimum)
        self._queue: deque[_Waiter] = deque()
        self._waited = 0
        self._overflowed = 0
        self._late = 0

        def server(one: Any, backup: bool) -> OwnServer:
            def told(sentence: str) -> None:
                report("origin", f"origin {origin.name}: {one.address} {sentence}")

            made = OwnServer(origin, one, loop, tls, backup=backup, resolver=resolver, told=told)
            if made.limit is not None:
                made.pool.on_free = self._serve_queue
            return made

        self.servers = [server(one, False) for one in origin.servers]
        self.servers += [server(one, True) for one in origin.backup]
        primaries = [one for one in self.servers if not one.backup]
        self._groups = [primaries, [one for one in self.servers if one.backup]]
        self.only = self.servers[0] if len(self.servers) == 1 else None
        self.promised = None
        self._promised_at = 0.0
        self.homes = tuple(primaries) if origin.balance == "hash" else ()
        self.rivals = ()
        if origin.balance == "least_connections" and origin.connections.per_server is None:
            self.rivals = tuple(primaries)
        for _ in range(start % max(1, sum(one.weight for one in primaries))):
            round_robin(primaries, 0, 0)
        self._turn = -1
        self._cycle: list[OwnServer] = []  # the turns of round robin while nothing else counts
        turns = sum(one.weight for one in primaries) // (math.gcd(*(one.weight for one in primaries)) or 1)
        if origin.balance == "round_robin" and origin.connections.per_server is None and turns <= MAX_CYCLE:
            self._cycle = [round_robin(primaries, 0, 0) for _ in range(turns)]

    def _now(self) -> int:
        return int(self._loop.time() * 1000)

    # --- one server ---

    def pick(self, key: int = 0, tried: Collection[OwnServer] = ()) -> OwnServer | None:
        """The server to ask, none of `tried`; `key` is `rendezvous.hash_of` what the request is for.

        None: there is none, or every one is at its limit, and `fetch` knows what to do. Whoever picked a server asks it
        at once (`pool.take`, `connect`), and then says `worked` or `failed`.
        """
        only = self.only
        if only is not None and only.health.plain and only.limit is None:
            return None if only in tried else only
        if self._queue:
            return None  # others came first
        if self._cycle and not tried:
            for one in self._groups[0]:
                if not one.health.plain:
                    break
            else:  # nothing to weigh: the next in turn
                self._turn += 1
                return self._cycle[self._turn % len(self._cycle)]
        if self.rivals and not tried and (freest := self.freest()) is not None:
            return freest
        return self._pick(key, tried)

    def _pick(self, key: int, tried: Collection[OwnServer]) -> OwnServer | None:
        now = self._now()
        for group in self._groups:
            fit = [one for one in group if one not in tried and one.health.fit(now)]
            if fit:
                free = [one for one in fit if not one.full]
                if not free:
                    return None
                if any(one.health.on_trial for one in free):
                    free = self._trial(free, bool(tried))
                chosen = free[0] if len(free) == 1 else self._choose(free, now, key)
                chosen.health.picked(now)
                return chosen
        # None may be asked: better the one that comes back first than no answer.
        left = [one for one in self.servers if one not in tried and not one.health.draining]
        free = [one for one in left if not one.full]
        if not free:
            return None
        chosen = min(free, key=lambda one: one.health.again)
        chosen.health.picked(now)
        return chosen

    @staticmethod
    def _trial(free: list[OwnServer], again: bool) -> list[OwnServer]:
        """A server that may be back is tried at once, but not by a request that has failed already."""
        certain = [one for one in free if not one.health.on_trial]
        if again and certain:
            return certain
        return [one for one in free if one.health.on_trial][:1]

    # --- a lane that asks by itself ---

    def kept(self) -> tuple[OwnServer, Connection] | None:
        """A server and a kept connection to it, for one request of the caller, who then says `worked` or `failed`.

        None: the server whose turn it is has none, and whoever asks next by `ask` asks that server; or there is none.
        """
        only = self.only
        if only is not None and only.limit is None and self.promised is None and only.health.plain:
            # nothing to weigh, and no budget to fill: nobody else could be asked again
            conn = only.pool.take(lately=True)
            if conn is not None:
                return only, conn
            self.promised = only
            self._promised_at = self._loop.time()
            return None
        server = self.pick() if self.promised is None else self._promise() or self.pick()
        if server is None:
            return None
        conn = server.pool.take(lately=True)
        if conn is None:
            self.promised = server
            self._promised_at = self._loop.time()
            server.spare()
            return None
        self._budget.request(self._now())
        return server, conn

    def kept_for(self, key: int) -> tuple[OwnServer, Connection] | None:
        """The same where the key says whose turn it is, and nothing speaks against any server.

        None: `ask` decides for the same key, too, and nothing is promised.
        """
        server = self.home(key)
        if server is None or self._queue or server.full:
            return None
        conn = server.pool.take(lately=True)
        if conn is None:
            server.spare()
            return None
        self._budget.request(self._now())
        return server, conn

    def _promise(self) -> OwnServer | None:
        """The server that was just picked and not asked, once: it may be a trial, which counts as made."""
        server, self.promised = self.promised, None
        if server is None or server.full or self._loop.time() > self._promised_at + PROMISED:
            return None
        return server

    def again(self, server: OwnServer, error: OriginError, since: float, key: int = 0) -> Attempt | None:
        """What `ask` goes on with for a GET or HEAD that left at `since`, loop time, and that `server` has failed.

        None: no other server is asked.
        """
        retry = self.origin.retry
        if len(self.servers) == 1 or retry.tries < 2 or self._loop.time() - since >= retry.within / 1000:
            return None
        if not repeatable(error, "GET", False):
            return None
        other = self._pick(key, [server])
        if other is None or not self._budget.spend(self._now()):
            return None
        return Attempt(since, server, other)

    def late(self) -> OriginError:
        """No server has answered within the time for all of it."""
        total = (self.origin.timeouts.total or 0) / 1000
        what = f"origin {self.origin.name} gave no answer within {total:g} s"
        return OriginError(Kind.TOTAL_TIMEOUT, what, sent=True)

    # --- a place in the queue ---

    async def _place(self, key: int, tried: Collection[OwnServer]) -> OwnServer | None:
        """The server to ask, waited for since all are at their limits; None: there is no other. A place is `reserved`
        with it, to be given back when it is asked.
        """
        if not any(one not in tried and not one.health.draining for one in self.servers):
            return None
        limits = self.origin.connections
        if len(self._queue) >= limits.queue:
            self._overflowed += 1
            raise OriginError(
                Kind.QUEUE_FULL,
                f"origin {self.origin.name} is at its limit, and {limits.queue} requests wait",
            )
        waiter = _Waiter(self._loop.create_future(), key, tried)
        self._queue.append(waiter)
        self._waited += 1
        self._serve_queue()  # whoever is before this one may want none of the servers that are free
        try:
            async with asyncio.timeout(limits.wait / 1000):
                return await waiter.future
        except TimeoutError:
            self._give_up(waiter)
            self._late += 1
            raise OriginError(
                Kind.QUEUE_TIMEOUT,
                f"no server of origin {self.origin.name} had a place within {limits.wait / 1000:g} s",
            ) from None
        except BaseException:
            self._give_up(waiter)
            raise

    def _give_up(self, waiter: _Waiter) -> None:
        if waiter in self._queue:
            self._queue.remove(waiter)
        future = waiter.future
        if future.done() and not future.cancelled() and future.exception() is None:
            future.result().reserved -= 1
            self._serve_queue()

    def _serve_queue(self) -> None:
        """A place may have come free: give it to whoever waits longest and can take it."""
        if not self._queue:
            return
        for waiter in list(self._queue):
            server = self._pick(waiter.key, waiter.tried)
            if server is None:
                if not waiter.tried:
                    return
                continue
            self._queue.remove(waiter)
            if not waiter.future.done():
                server.reserved += 1
                waiter.future.set_result(server)

    # --- one request ---

    def another(self, tried: int, seconds: float) -> bool:
        """Whether one more server is asked after so many have failed in so many seconds; the budget has paid for it."""
        retry = self.origin.retry
        if tried >= retry.tries or seconds >= retry.within / 1000:
            return False
        return tried >= len(self.servers) or self._budget.spend(self._now())

    async def ask(
        self,
        method: str,
        has_body: bool,
        key: int,
        one: Ask[Answer],
        attempt: Attempt | None = None,
    ) -> Answer:
        """Let `one` ask a server, and another one while that is safe and worth it. Raises OriginError.

        `attempt`: what a lane has done of that already; where a server has failed it, the budget has paid for the next.
        """
        began = self._loop.time()
        tried: list[OwnServer] = []
        first: OwnServer | None = None
        if attempt is None:
            self._budget.request(int(began * 1000))
            if self.promised is not None:
                first = self._promise()
        else:
            began = attempt.since
            # after a reload they may be another configuration's
            if attempt.failed in self.servers:
                tried.append(attempt.failed)
            if attempt.other in self.servers and not attempt.other.full:
                first = attempt.other
        total = self.origin.timeouts.total
        if total is None:
            return await self._ask(method, has_body, key, one, began, tried, first)
        try:
            async with asyncio.timeout_at(began + total / 1000) as limit:
                answer = await self._ask(method, has_body, key, one, began, tried, first)
        except TimeoutError:
            if not limit.expired():
                raise
            error = self.late()
            if tried:
                tried[-1].failed(error)
            raise error from None
        if isinstance(answer, WireResponse):
            answer.limit(began + total / 1000)
        return answer

    async def _ask(
        self,
        method: str,
        has_body: bool,
        key: int,
        one: Ask[Answer],
        began: float,
        tried: list[OwnServer],
        first: OwnServer | None,
    ) -> Answer:
        """`first` is asked first."""
        failure = OriginError(Kind.NO_SERVER, f"origin {self.origin.name} has no server to ask")
        while True:
            server, first = first, None
            if server is None:
                server = self.pick(key, tried)
            waited = server is None
            if server is None:
                server = await self._place(key, tried)
            if server is None:
                raise failure
            tried.append(server)
            try:
                # What `one` does first, before it waits for anything, takes the place over.
                if waited:
                    server.reserved -= 1
                return await one(server)
            except OriginError as error:
                server.failed(error)
                if not repeatable(error, method, has_body):
                    raise
                failure = error
            if not self.another(len(tried), self._loop.time() - began):
                raise failure

    # --- what others may know ---

    @property
    def busy(self) -> bool:
        """Whether an exchange or a tunnel is under way, or a request waits."""
        return bool(self._queue) or any(server.busy for server in self.servers)

    def stats(self) -> dict[str, Any]:
        return {
            "retries": self._budget.spent,
            "retries_refused": self._budget.refused,
            "queue_waiting": len(self._queue),
            "queue_waited": self._waited,
            "queue_full": self._overflowed,
            "queue_late": self._late,
            "servers": {server.name: server.stats() for server in self.servers},
        }

    def start_checks(self) -> None:
        """Check each server from now on, where the origin wants that."""
        if (check := self.origin.health) is not None:
            self._checks = [self._loop.create_task(watch(one, self.origin, check)) for one in self.servers]

    async def stop_checks(self) -> None:
        checks, self._checks = self._checks, []
        for check in checks:
            check.cancel()
        await asyncio.gather(*checks, return_exceptions=True)

    def keep_no_connections(self) -> None:
        """None is kept from now on; what is under way goes on."""
        for server in self.servers:
            server.pool.retire()

    async def idle(self) -> None:
        """Return when nothing is under way; while `keep_no_connections` is in force that comes of itself."""
        while self.busy:  # noqa: ASYNC110 - many ends, no hurry
            await asyncio.sleep(RETIRING)

    async def close(self) -> None:
        await self.stop_checks()
        for waiter in list(self._queue):
            if not waiter.future.done():
                waiter.future.set_exception(
                    OriginError(Kind.NO_SERVER, "the client of the origins was closed")
                )
        self._queue.clear()
        for server in self.servers:
            server.pool.on_free = None
            await server.close()
