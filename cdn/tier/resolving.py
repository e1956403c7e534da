"""The addresses of one server's name, looked up again every so often and never on the loop's time.

Decides when the system's resolver is asked: for the first connection, and then, while connections are held, whenever
the TTL of what it said is over and at least every `every` ms, so that a change of the name's addresses is noticed by a
server that is busy on kept connections, too. Old addresses serve while it is asked, and when it fails. Must not know
what is sent over a connection.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from cdn.tier.lifetime import is_address, lifetime
from cdn.tier.seam import Kind, OriginError

AVOIDED = 10.0  # seconds for which an address that took no connection is tried last
SOON = 0.05  # seconds more that a connection waits to learn for how long the addresses are good
LEAST = 1.0  # seconds between two looks, whatever the TTL is


@dataclass(frozen=True, slots=True)
class Found:
    """Numeric addresses, in the order of preference of RFC 6724, and their TTL in seconds where that is known."""

    addresses: list[str]
    ttl: float | None = None


Resolver = Callable[[str, int], Awaitable[Found]]  # (host, port); raises OSError


async def system_resolver(host: str, port: int) -> Found:
    """What getaddrinfo says, asked in a thread: /etc/hosts, DNS, or whatever the system is set up for."""
    good_for = asyncio.ensure_future(asyncio.to_thread(lifetime, host))
    try:
        addresses = await _system_addresses(host, port)
        await asyncio.wait((good_for,), timeout=SOON)
        ttl = good_for.result() if good_for.done() else None
    finally:
        good_for.cancel()
    return Found(addresses, ttl)


async def _system_addresses(host: str, port: int) -> list[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses: list[str] = []
    for _family, _type, _protocol, _name, where in found:
        address = str(where[0])
        if (
            len(where) == 4 and where[3] and "%" not in address
        ):  # a link-local address is nothing without its link
            address = f"{address}%{where[3]}"
        if address not in addresses:
            addresses.append(address)
    return addresses


class Addresses:
    """Where a host is. `changed` is called when addresses that connections may go to are gone."""

    def __init__(
        self,
        host: str,
        port: int,
        every: int,
        loop: asyncio.AbstractEventLoop,
        resolver: Resolver,
        changed: Callable[[], None],
        told: Callable[[str], None],
    ) -> None:
        self._host = host
        self._port = port
        self._every = every / 1000
        self.good_for = self._every  # seconds from one look to the next
        self._loop = loop
        self._resolver = resolver
        self._changed = changed
        self._told = told
        self._asking: asyncio.Task[None] | None = None
        self._known: list[str] = []
        self._asked_at = 0.0
        self._turn = 0
        self._bad: dict[str, float] = {}  # address -> until when it is tried last
        self._failing = False
        self.literal = is_address(host)
        if self.literal:
            self._known = [host]

    @property
    def known(self) -> list[str]:
        return list(self._known)

    async def get(self) -> list[str]:
        """The addresses to try, in this order: each in turn the first, both families early, the bad ones last.

        Raises OriginError(DNS) when nothing is known.
        """
        if self.literal:
            return self._known
        if not self._known or self._loop.time() - self._asked_at >= self.good_for:
            asking = self._ask()
            if not self._known:
                await asyncio.shield(asking)
        if not self._known:
            raise OriginError(Kind.DNS, f"its name {self._host} can't be resolved")
        return self._ordered()

    def refresh(self) -> None:
        """Look again, in the background, where the last look is old enough."""
        if not self.literal and self._loop.time() - self._asked_at >= self.good_for * 0.9:
            self._ask()

    def _ask(self) -> asyncio.Task[None]:
        if self._asking is None:
            self._asking = self._loop.create_task(self._look())
            self._asking.add_done_callback(self._done)
        return self._asking

    def _done(self, _task: asyncio.Task[None]) -> None:
        self._asking = None

    async def _look(self) -> None:
        try:
            answer = await self._resolver(self._host, self._port)
        except (OSError, UnicodeError) as exc:
            why = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
            self._failed(why)
            return
        finally:
            self._asked_at = self._loop.time()
        found = answer.addresses
        if not found:
            self._failed("it has no address")
            return
        self.good_for = self._every if answer.ttl is None else min(self._every, max(LEAST, answer.ttl))
        if self._failing:
            self._failing = False
            self._told("its name is resolved again")
        before, self._known = self._known, found
        self._bad = {address: until for address, until in self._bad.items() if address in found}
        if before and set(before) != set(found):
            self._told(f"its name now stands for {', '.join(sorted(found)[:8])}")
        if not set(before) <= set(found):
            self._changed()

    def _failed(self, why: str) -> None:
        if not self._failing:
            self._failing = True
            kept = "; its old addresses are used" if self._known else ""
            self._told(f"its name can't be resolved ({why}){kept}")

    def _ordered(self) -> list[str]:
        """Turns among all, then the families alternate as far as they go (RFC 8305 §4)."""
        if len(self._known) == 1:
            return self._known
        now = self._loop.time()
        self._turn += 1
        at = self._turn % len(self._known)
        turned = self._known[at:] + self._known[:at]
        good = [address for address in turned if self._bad.get(address, 0.0) <= now]
        bad = [address for address in turned if address not in good]
        first = [a for a in good if (":" in a) == (":" in good[0])] if good else []
        second = [a for a in good if a not in first]
        mixed: list[str] = []
        for i in range(max(len(first), len(second))):
            mixed += first[i : i + 1] + second[i : i + 1]
        return mixed + bad

    def bad(self, address: str) -> None:
        """No connection could be made to it."""
        if len(self._known) > 1:
            self._bad[address] = self._loop.time() + AVOIDED

    def close(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
