"""Origins as the exchange sees them: several servers, second tries, interim responses, times, closing."""

from __future__ import annotations

import asyncio
import gc
from dataclasses import dataclass, replace

import pytest

from cdn.config.values import Address, Origin, Server
from cdn.rules.message import Fields
from cdn.tier import Kind, OriginError, OriginRequest, Origins
from tests.tier.scripted import (
    FAST,
    Peer,
    Script,
    drain,
    free_port,
    origin_of,
    pieces,
    run,
    scripted,
    serving,
    until,
)

GET = OriginRequest("GET", "/", "www.example.com")


def saying(name: bytes):
    async def script(peer: Peer) -> None:
        while await peer.request():
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(name) + name)

    return script


async def ask(origins: Origins, request: OriginRequest = GET, **more) -> bytes:
    more.setdefault("body", None)
    body = more.pop("body")
    got = await drain(
        await origins.fetch("app", request, body, body_length=more.pop("body_length", None), **more)
    )
    assert got.error is None
    return got.body


def test_turns_by_weight() -> None:
    async def main() -> None:
        async with scripted(saying(b"a")) as one, scripted(saying(b"b")) as two:
            servers = tuple(
                Server(Address("http", "127.0.0.1", port), weight)
                for port, weight in ((one.port, 3), (two.port, 1))
            )
            origins = Origins({"app": Origin("app", servers, timeouts=FAST)}, start=0)
            assert b"".join([await ask(origins) for _ in range(8)]) == b"aabaaaba"
            assert (one.connections, two.connections) == (1, 1)
            await origins.close()

    run(main())


def test_a_refused_connect_goes_to_the_next_server_and_is_remembered() -> None:
    async def main() -> None:
        async with scripted(saying(b"up")) as up:
            origins = Origins({"app": origin_of(free_port(), up.port)}, start=0)
            for _ in range(4):
                assert await ask(origins) == b"up"
            await origins.close()

    run(main())


def test_a_body_is_whole_for_the_server_that_takes_it() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        assert await peer.reader.readexactly(6) == b"abcdef"
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await peer.closed()

    async def main() -> None:
        async with scripted(script) as up:
            origins = Origins({"app": origin_of(free_port(), free_port(), up.port)}, start=0)
            request = replace(GET, method="POST")
            assert await ask(origins, request, body=pieces(b"abc", b"def"), body_length=6) == b"ok"
            await origins.close()

    run(main())


def test_tries_are_bounded_and_the_last_failure_is_told() -> None:
    async def main() -> None:
        async with scripted(saying(b"never asked")) as up:
            ports = [free_port() for _ in range(3)]
            origins = Origins({"app": origin_of(*ports, up.port)}, start=0)
            with pytest.raises(OriginError) as caught:
                await ask(origins)
            assert caught.value.kind is Kind.CONNECT_REFUSED
            assert caught.value.server == f"http://127.0.0.1:{ports[2]}"
            assert up.connections == 0
            assert await ask(origins) == b"never asked"  # the three are in back-off now
            await origins.close()

    run(main())


@dataclass(frozen=True)
class Try:
    """What the first server does to a request, and whether the second one may be asked."""

    name: str
    request: OriginRequest
    script: Script
    again: bool
    kind: Kind = Kind.RESET
    body: bytes | None = None


async def silent(peer: Peer) -> None:
    await peer.request()
    await peer.closed()


async def cut(peer: Peer) -> None:
    await peer.request()
    await peer.send(b"HTTP/1.1 200 O")


async def hang_up(peer: Peer) -> None:
    await peer.request()


async def reset(peer: Peer) -> None:
    await peer.request()
    peer.reset()


async def talk_nonsense(peer: Peer) -> None:
    await peer.request()
    await peer.send(b"SSH-2.0-OpenSSH\r\n\r\n")


POST, PUT, DELETE = (replace(GET, method=method) for method in ("POST", "PUT", "DELETE"))
LATE = Kind.FIRST_BYTE_TIMEOUT
TRIES = [
    Try("GET, hung up", GET, hang_up, True),
    Try("GET, reset", GET, reset, True),
    Try("GET, silent", GET, silent, True, LATE),
    Try("HEAD, silent", replace(GET, method="HEAD"), silent, True, LATE),
    Try("DELETE, hung up", DELETE, hang_up, True),
    Try("PUT without a body, hung up", PUT, hang_up, True),
    Try("POST without a body, hung up", POST, hang_up, False),
    Try("POST, hung up", POST, hang_up, False, body=b"abc"),
    Try("POST, reset", POST, reset, False, body=b"abc"),
    Try("POST, silent", POST, silent, False, LATE, body=b"abc"),
    Try("PUT, hung up", PUT, hang_up, False, body=b"abc"),
    Try("PATCH, silent", replace(GET, method="PATCH"), silent, False, LATE),
    Try("unknown method, silent", replace(GET, method="FROB"), silent, False, LATE),
    Try("GET, half a head", GET, cut, False),
    Try("GET, nonsense", GET, talk_nonsense, False, Kind.MALFORMED),
]


@pytest.mark.parametrize("case", TRIES, ids=lambda case: case.name)
def test_what_is_asked_again(case: Try) -> None:
    """Only what may be done twice, could be sent twice, and got no byte of an answer."""

    async def main() -> None:
        async with scripted(case.script) as bad, scripted(saying(b"other")) as other:
            timeouts = replace(FAST, first_byte=80)
            origins = Origins({"app": origin_of(bad.port, other.port, timeouts=timeouts)}, start=0)
            body = None if case.body is None else pieces(case.body)
            length = None if case.body is None else len(case.body)
            if case.again:
                response = await origins.fetch("app", case.request, body, body_length=length)
                assert response.server == f"http://127.0.0.1:{other.port}"
                await response.close()
            else:
                with pytest.raises(OriginError) as caught:
                    await origins.fetch("app", case.request, body, body_length=length)
                assert caught.value.kind is case.kind
            assert (bad.connections, other.connections) == (1, int(case.again))
            assert origins.stats()["app"]["retries"] == int(case.again)
            assert origins.stats()["app"]["servers"][f"http://127.0.0.1:{bad.port}"]["failures"] == {
                case.kind: 1
            }
            await origins.close()

    run(main())


@pytest.mark.parametrize("name", ["other", ""])
def test_an_unknown_origin(name: str) -> None:
    async def main() -> None:
        origins = Origins({"app": origin_of(free_port())})
        with pytest.raises(OriginError) as caught:
            await origins.fetch(name, GET, None, body_length=None)
        assert (caught.value.kind, caught.value.status) == (Kind.NO_SERVER, 502)
        await origins.close()

    run(main())


def test_an_origin_without_servers() -> None:
    async def main() -> None:
        origins = Origins({"app": Origin("app", ())})
        with pytest.raises(OriginError) as caught:
            await ask(origins)
        assert caught.value.kind is Kind.NO_SERVER
        await origins.close()

    run(main())


def test_interim_responses_are_told_in_order_but_for_100() -> None:
    wire = (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n"
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    )
    heard: list[tuple[int, Fields]] = []

    async def main() -> None:
        async with scripted(serving(wire)) as origin:
            origins = Origins({"app": origin_of(origin.port)})
            assert await ask(origins, on_interim=lambda status, fields: heard.append((status, fields))) == b""
            await origins.close()

    run(main())
    assert heard == [(102, Fields()), (103, Fields([("Link", "</a>")]))]


def test_times_and_server() -> None:
    async def script(peer: Peer) -> None:
        while await peer.request():
            await asyncio.sleep(0.05)
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async def main() -> None:
        async with scripted(script) as origin:
            origins = Origins({"app": origin_of(origin.port)})
            for kept in (False, True):
                response = await origins.fetch("app", GET, None, body_length=None)
                assert response.server == f"http://127.0.0.1:{origin.port}"
                assert 45 < response.first_byte_ms < 500
                assert 0 <= response.connect_ms < 500
                assert not kept or response.connect_ms == 0
                await drain(response)
            await origins.close()

    run(main())


def test_closing_twice_and_asking_afterwards() -> None:
    async def main() -> None:
        async with scripted(saying(b"x")) as origin:
            origins = Origins({"app": origin_of(origin.port)})
            assert await ask(origins) == b"x"
            await origins.close()
            await origins.close()
            with pytest.raises(OriginError):
                await ask(origins)
            await until(lambda: origin.peers[0].reader.at_eof())

    run(main())


def test_a_storm_of_mixed_endings_leaves_no_connection_behind() -> None:
    """Answers read, answers dropped, requests cancelled, origins that lie: what is left is idle and fit."""
    endings = (
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello surplus",
        b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nhello",
        b"HTTP/9.9 what\r\n\r\n",
        b"",
    )

    async def script(peer: Peer) -> None:
        while head := await peer.request():
            number = int(head.split(b" ")[1][1:])
            await peer.send(endings[number % len(endings)])
            if number % len(endings) > 2:
                if number % 2:
                    await asyncio.sleep(0.02)
                return

    async def one(origins: Origins, number: int) -> None:
        request = OriginRequest("GET", f"/{number}", "h")
        try:
            async with asyncio.timeout(0.01 if number % 7 == 0 else 5):
                response = await origins.fetch("app", request, None, body_length=None)
                if number % 5 == 0:
                    await response.close()
                    return
                got = await drain(response)
                assert got.complete is (number % len(endings) < 3)
                assert got.body == b"hello"
        except OriginError:
            assert number % len(endings) > 2
        except TimeoutError:
            assert number % 7 == 0

    async def main() -> None:
        async with scripted(script) as origin:
            origins = Origins({"app": origin_of(origin.port)})
            pool = origins._upstreams["app"].servers[0].pool
            for round_ in range(6):
                await asyncio.gather(*(one(origins, round_ * 60 + i) for i in range(60)))
            gc.collect()
            await until(lambda: pool.live_count == pool.idle_count)
            assert pool.reused > 0
            assert await ask(origins, OriginRequest("GET", "/0", "h")) == b"hello"
            await origins.close()
            await until(lambda: pool.live_count == 0)
            assert not pool.sweeping

    run(main())
