"""Kept connections: used again while they are fit, replaced when they turn out dead, gone when they idled."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import time
from dataclasses import replace
from typing import Any

import pytest

from cdn.tier.own import OwnServer
from tests.tier.certificates import secured
from tests.tier.scripted import (
    FAST,
    Asker,
    Peer,
    asking,
    origin_of,
    pieces,
    run,
    scripted,
    serving,
    until,
)

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def pool_of(asker: Asker):
    assert isinstance(asker.server, OwnServer)
    return asker.server.pool


async def answering(peer: Peer) -> None:
    while await peer.request():
        await peer.send(OK)


async def answering_bare(peer: Peer) -> None:
    """As a HEAD is answered; a GET is, with an empty body."""
    while await peer.request():
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


@pytest.mark.parametrize("client", ["own", "tls"])
def test_one_after_another_share_a_connection(client: str) -> None:
    async def main() -> None:
        async with (
            scripted(answering, secured(client)) as origin,
            asking(client, origin_of(origin.port)) as asker,
        ):
            for _ in range(5):
                assert (await asker.ask()).body == b"ok"
            assert origin.connections == 1

    run(main())


def test_at_once_they_get_one_each_and_the_last_used_is_taken_first() -> None:
    async def main() -> None:
        async with scripted(answering) as origin, asking("own", origin_of(origin.port)) as asker:
            await asyncio.gather(*(asker.ask() for _ in range(4)))
            pool = pool_of(asker)
            assert (origin.connections, pool.idle_count, pool.opened) == (4, 4, 4)
            taken = pool.take()
            assert taken is not None
            taken.abort()
            assert pool.idle_count == 3

    run(main())


def test_a_connection_serves_although_no_descriptor_is_left_to_read_it_by(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        async with scripted(answering) as origin, asking("own", origin_of(origin.port)) as asker:
            connect = asker.server.connect

            async def the_last() -> Any:
                made = await connect()
                await until(lambda: origin.connections == 1)
                resource.setrlimit(resource.RLIMIT_NOFILE, (1, hard))
                return made

            monkeypatch.setattr(asker.server, "connect", the_last)
            try:
                assert [(await asker.ask()).body for _ in range(3)] == [b"ok"] * 3
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            assert (await asker.ask()).body == b"ok"
            assert origin.connections == 1

    run(main())


@pytest.mark.parametrize("client", ["own", "tls"])
def test_closed_while_idle_is_noticed_before_it_is_used(client: str) -> None:
    """Also for a method that may not be sent twice: the close had arrived before the request left."""

    async def main() -> None:
        async with (
            scripted(serving(OK, close=True), secured(client)) as origin,
            asking(client, origin_of(origin.port)) as asker,
        ):
            for _ in range(3):
                assert (await asker.ask("POST")).body == b"ok"
                await asyncio.sleep(0.03)
            assert origin.connections == 3

    run(main())


def test_a_close_that_the_loop_has_not_seen_yet_is_found_in_the_socket() -> None:
    async def main() -> None:
        async with scripted(answering) as origin, asking("own", origin_of(origin.port)) as asker:
            await asker.ask()
            pool = pool_of(asker)
            assert pool.idle_count == 1
            # Close the origin's end in this very callback; the client's loop has no chance to hear of it.
            sock = origin.peers[0].writer.get_extra_info("socket")
            with socket.socket(fileno=os.dup(sock.fileno())) as own:
                own.shutdown(socket.SHUT_RDWR)
            assert pool.take() is None
            assert pool.idle_count == 0
            assert (await asker.ask()).body == b"ok"
            assert origin.connections == 2

    run(main())


@pytest.mark.parametrize(("method", "held"), [("GET", 0.01), ("HEAD", 0.0)])
def test_bytes_that_came_while_the_loop_was_held_up_are_found_though_a_late_look_would_do(
    method: str, held: float
) -> None:
    """And at once where the last response had no body: one that is sent all the same comes right behind it."""

    async def main() -> None:
        async with scripted(answering_bare) as origin, asking("own", origin_of(origin.port)) as asker:
            await asker.ask(method)
            pool = pool_of(asker)
            assert pool.idle_count == 1
            # In this very callback: the client's loop has no chance to hear of it.
            sock = origin.peers[0].writer.get_extra_info("socket")
            with socket.socket(fileno=os.dup(sock.fileno())) as own:
                own.send(OK)
            time.sleep(held)  # noqa: ASYNC251 (the loop has to be held up)
            assert pool.take(lately=True) is None

    run(main())


def test_unasked_bytes_while_idle_discard_it() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        if peer.number == 1:
            await asyncio.sleep(0.02)
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        await peer.closed()

    async def main() -> None:
        async with scripted(script) as origin, asking("own", origin_of(origin.port)) as asker:
            assert (await asker.ask()).body == b"ok"
            await until(lambda: pool_of(asker).idle_count == 0)
            assert (await asker.ask()).body == b"ok"
            assert origin.connections == 2

    run(main())


def dying(first: int = 1):
    """Connections whose second request is read and then answered by nothing but a close."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        if await peer.request() and peer.number > first:
            await peer.send(OK)

    return script


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"])
def test_a_kept_connection_that_dies_under_an_idempotent_request_is_replaced_once(method: str) -> None:
    async def main() -> None:
        async with scripted(dying()) as origin, asking("own", origin_of(origin.port)) as asker:
            assert (await asker.ask()).body == b"ok"
            got = await asker.ask(method)
            assert (got.status, got.kind) == (200, None)
            assert origin.connections == 2

    run(main())


@pytest.mark.parametrize(
    ("method", "body"), [("POST", False), ("PATCH", False), ("PUT", True), ("GET", True)]
)
def test_what_may_not_be_sent_twice_is_not(method: str, body: bool) -> None:
    async def main() -> None:
        async with scripted(dying()) as origin, asking("own", origin_of(origin.port)) as asker:
            assert (await asker.ask()).body == b"ok"
            got = await asker.ask(method, body=pieces(b"x") if body else None)
            assert got.kind == "reset"
            assert got.error is not None
            assert (got.error.sent, got.error.received) == (True, False)
            assert origin.connections == 1

    run(main())


def test_a_new_connection_that_dies_is_not_replaced() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()

    async def main() -> None:
        async with scripted(script) as origin, asking("own", origin_of(origin.port)) as asker:
            assert (await asker.ask()).kind == "reset"
            assert origin.connections == 1

    run(main())


def test_one_byte_of_an_answer_forbids_the_second_try() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.request()
        await peer.send(b"H")

    async def main() -> None:
        async with scripted(script) as origin, asking("own", origin_of(origin.port)) as asker:
            await asker.ask()
            got = await asker.ask()
            assert got.kind == "reset"
            assert got.error is not None
            assert got.error.received
            assert origin.connections == 1

    run(main())


def test_idle_connections_are_closed_and_the_sweep_ends_with_them() -> None:
    async def main() -> None:
        timeouts = replace(FAST, idle=60)
        async with (
            scripted(answering) as origin,
            asking("own", origin_of(origin.port, timeouts=timeouts)) as asker,
        ):
            pool = pool_of(asker)
            assert not pool.sweeping
            await asyncio.gather(asker.ask(), asker.ask())
            assert pool.sweeping
            assert pool.idle_count == 2
            await until(lambda: pool.idle_count == 0, 1.0)
            await until(lambda: not pool.sweeping and pool.live_count == 0, 1.0)

    run(main())


def test_one_that_idled_too_long_is_not_taken_even_before_the_sweep() -> None:
    async def main() -> None:
        async with (
            scripted(answering) as origin,
            asking("own", origin_of(origin.port, timeouts=replace(FAST, idle=100))) as asker,
        ):
            await asker.ask()
            await asyncio.sleep(0.07)
            await asker.ask()  # used again: its idle time starts anew, the sweep's first look finds it young
            assert origin.connections == 1
            await asyncio.sleep(0.08)
            assert pool_of(asker).idle_count == 1
            await asyncio.sleep(0.03)
            assert pool_of(asker).take() is None

    run(main())


def test_idle_zero_keeps_none() -> None:
    async def main() -> None:
        async with (
            scripted(answering) as origin,
            asking("own", origin_of(origin.port, timeouts=replace(FAST, idle=0))) as asker,
        ):
            await asker.ask()
            await asker.ask()
            assert origin.connections == 2
            assert not pool_of(asker).sweeping

    run(main())


def test_a_cancelled_request_closes_its_connection() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        assert await peer.closed() == b""

    async def main() -> None:
        async with scripted(script) as origin, asking("own", origin_of(origin.port)) as asker:
            task = asyncio.ensure_future(asker.ask())
            await until(lambda: origin.connections == 1)
            await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await until(lambda: pool_of(asker).live_count == 0)

    run(main())


@pytest.mark.parametrize("client", ["own", "tls"])
def test_a_dropped_response_closes_its_connection(client: str) -> None:
    ended = []

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome")
        ended.append(await peer.closed())

    async def main() -> None:
        async with (
            scripted(script, secured(client)) as origin,
            asking(client, origin_of(origin.port)) as asker,
        ):
            response = await asker.open()
            assert await response.read() == b"some"
            del response
            await until(lambda: bool(ended))
            assert origin.connections == 1

    run(main())


@pytest.mark.parametrize("client", ["own", "tls"])
def test_close_fails_what_is_under_way(client: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome")
        await peer.closed()

    async def main() -> None:
        async with (
            scripted(script, secured(client)) as origin,
            asking(client, origin_of(origin.port)) as asker,
        ):
            task = asyncio.ensure_future(asker.ask())
            await until(lambda: origin.connections == 1)
            await asyncio.sleep(0.03)
            await asker.server.close()
            got = await task
            assert got.kind in ("reset", "truncated")
            assert not got.complete

    run(main())
