"""Makes one connection to a server: over TCP or a unix socket, with TLS or without, to whichever address answers.

Decides the order and pace in which addresses are tried (RFC 8305 §5) and what a failure is called. Must not know
pools, nor what a connection is for.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import TypeVar

from cdn.config.values import Address
from cdn.tier.resolving import Addresses
from cdn.tier.seam import Kind, OriginError

ATTEMPT = 0.25  # seconds until the next address is tried beside the one that is silent (RFC 8305 §8)

P = TypeVar("P", bound=asyncio.Protocol)


class Dialer:
    """Dials one server. `abort` undoes a protocol whose connection is not wanted any more."""

    def __init__(
        self,
        address: Address,
        addresses: Addresses | None,
        loop: asyncio.AbstractEventLoop,
        tls: ssl.SSLContext | None,
        name: str | None,
    ) -> None:
        self._address = address
        self._addresses = addresses
        self._loop = loop
        self._tls = tls
        self._name = name

    async def dial(self, make: Callable[[], P], abort: Callable[[P], None], timeout: int) -> P:
        """A connected protocol, of those that `make` gives. `timeout` in ms. Raises OriginError (CONNECT_FAILURES)."""
        try:
            async with asyncio.timeout(timeout / 1000):
                if self._addresses is None:
                    assert self._address.path is not None
                    return await self._unix(make, abort, self._address.path)
                addresses = await self._addresses.get()
                if len(addresses) == 1:
                    return await self._one(make, abort, addresses[0])
                return await self._race(make, abort, addresses)
        except TimeoutError:
            kind, detail = Kind.CONNECT_TIMEOUT, f"no connection within {timeout / 1000:g} s"
        except ssl.CertificateError as exc:
            kind, detail = Kind.TLS, f"its certificate is refused ({_reason(exc)})"
        except ssl.SSLError as exc:
            kind, detail = Kind.TLS, f"TLS failed ({exc.reason or exc})"
        except OSError as exc:
            if self._tls is not None and isinstance(exc, ConnectionError) and exc.errno is None:
                kind, detail = Kind.TLS, "TLS failed (the server hung up inside the handshake)"
            else:
                kind, detail = Kind.CONNECT_REFUSED, f"no connection ({exc.strerror or exc})"
        except OriginError as error:
            kind, detail = error.kind, error.detail
        raise OriginError(kind, detail, server=str(self._address))

    async def _unix(self, make: Callable[[], P], abort: Callable[[P], None], path: str) -> P:
        made = make()
        try:
            await self._loop.create_unix_connection(lambda: made, path)
        except BaseException:
            abort(made)
            raise
        return made

    async def _one(self, make: Callable[[], P], abort: Callable[[P], None], host: str) -> P:
        made = make()
        try:
            await self._loop.create_connection(
                lambda: made,
                host,
                self._address.port,
                ssl=self._tls,
                server_hostname=self._name if self._tls is not None else None,
            )
        except BaseException:
            abort(made)
            raise
        return made

    async def _race(self, make: Callable[[], P], abort: Callable[[P], None], hosts: list[str]) -> P:
        """One address after the other, the next when one fails or is silent for ATTEMPT; the first one wins."""
        assert self._addresses is not None
        running: dict[asyncio.Task[P], str] = {}
        left = list(hosts)
        failure: BaseException | None = None
        winner: P | None = None
        won = len(hosts)
        try:
            while winner is None and (left or running):
                if left:
                    host = left.pop(0)
                    running[self._loop.create_task(self._one(make, abort, host))] = host
                done, _ = await asyncio.wait(
                    running, timeout=ATTEMPT if left else None, return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    host = running.pop(task)
                    fault = task.exception()
                    if fault is not None:
                        self._addresses.bad(host)
                        failure = fault
                    elif winner is None:
                        winner, won = task.result(), hosts.index(host)
                    else:
                        abort(task.result())
        finally:
            for task, host in running.items():
                if hosts.index(host) < won:
                    self._addresses.bad(host)  # it was silent while a later one answered, or the time ran out
                task.add_done_callback(lambda task: None if task.cancelled() else _drop(task, abort))
                task.cancel()
        if winner is not None:
            return winner
        assert failure is not None
        raise failure


def _drop(task: asyncio.Task[P], abort: Callable[[P], None]) -> None:
    """An attempt that ended after another one had won."""
    if task.exception() is None:
        abort(task.result())


def _reason(exc: ssl.CertificateError) -> str:
    return str(getattr(exc, "verify_message", "") or exc.args[-1])
