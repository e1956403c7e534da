"""Where a server is: names and their changes, several addresses, IPv6, unix sockets."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cdn.config.values import Address, Connections, Origin, Server
from cdn.tier import Kind, OriginError, OriginRequest, Origins
from cdn.tier.resolving import Found
from tests.peers import has_ipv6
from tests.tier.scripted import FAST, Peer, drain, run, until

GET = OriginRequest("GET", "/", None)


class Names:
    """A resolver whose answers the test sets; names stand for addresses of 127/8, all of this machine."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = list(addresses)
        self.asked = 0
        self.fails = False
        self.hold: asyncio.Event | None = None
        self.ttl: float | None = None

    async def __call__(self, host: str, port: int) -> Found:
        assert host == "app.internal"
        self.asked += 1
        if self.hold is not None:
            await self.hold.wait()
        if self.fails:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return Found(list(self.addresses), self.ttl)


@contextlib.contextmanager
def silent(port: int, host: str) -> Iterator[None]:
    """An address that neither accepts nor refuses: its queue of connections is full."""
    with socket.socket() as listener, contextlib.ExitStack() as stack:
        listener.bind((host, port))
        listener.listen(0)
        for _ in range(4):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                client.connect((host, port))
        yield


class Host:
    """One port on several addresses; each says which it is, and counts its connections."""

    def __init__(self) -> None:
        self.port = 0
        self.connections: dict[str, int] = {}
        self.hold: asyncio.Event | None = None

    async def script(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer, 0)
        where = writer.get_extra_info("sockname")[0]
        self.connections[where] = self.connections.get(where, 0) + 1
        try:
            while await peer.request():
                if self.hold is not None:
                    await self.hold.wait()
                name = where.encode()
                await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(name), name))
        finally:
            writer.close()


@contextlib.asynccontextmanager
async def host(*addresses: str) -> AsyncIterator[Host]:
    found = Host()
    servers = []
    for address in addresses:
        servers.append(await asyncio.start_server(found.script, address, found.port))
        found.port = servers[0].sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        for server in servers:
            server.close()
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def asked(
    port: int, names: Names, said: list[str] | None = None, every: int = 100, connect: int = FAST.connect
) -> AsyncIterator[Origins]:
    servers = (Server(Address("http", "app.internal", port)),)
    heard = [] if said is None else said
    origins = Origins(
        {"app": Origin("app", servers, timeouts=replace(FAST, connect=connect), resolve=every)},
        resolver=names,
        report=lambda kind, sentence: heard.append(sentence),
    )
    try:
        yield origins
    finally:
        await origins.close()


async def ask(origins: Origins) -> str:
    try:
        got = await drain(await origins.fetch("app", GET, None, body_length=None))
    except OriginError as error:
        return error.kind.value
    assert got.error is None
    return got.body.decode()


def test_a_name_is_looked_up_once_for_many_requests() -> None:
    async def main() -> None:
        names = Names("127.0.0.1")
        async with host("127.0.0.1") as found, asked(found.port, names, every=60_000) as origins:
            got = await asyncio.gather(*(ask(origins) for _ in range(20)))
            assert got == ["127.0.0.1"] * 20
            assert names.asked == 1

    run(main())


def test_all_addresses_are_used() -> None:
    async def main() -> None:
        names = Names("127.0.0.1", "127.0.0.2", "127.0.0.3")
        async with host(*names.addresses) as found, asked(found.port, names, every=60_000) as origins:
            found.hold = asyncio.Event()
            tasks = [asyncio.create_task(ask(origins)) for _ in range(9)]
            await until(lambda: sum(found.connections.values()) == 9)
            found.hold.set()
            await asyncio.gather(*tasks)
            assert found.connections == dict.fromkeys(names.addresses, 3)

    run(main())


def test_a_change_is_picked_up_though_the_connection_is_never_idle_for_long() -> None:
    said: list[str] = []

    async def main() -> None:
        names = Names("127.0.0.1")
        async with host("127.0.0.1", "127.0.0.2") as found, asked(found.port, names, said) as origins:
            assert await ask(origins) == "127.0.0.1"
            names.addresses = ["127.0.0.2"]
            async with asyncio.timeout(5):
                while await ask(origins) != "127.0.0.2":  # noqa: ASYNC110 - each look is a request
                    await asyncio.sleep(0.01)
            assert found.connections == {"127.0.0.1": 1, "127.0.0.2": 1}  # the old one was not used again
            assert await ask(origins) == "127.0.0.2"

    run(main())
    assert said == [said[0]]
    assert "its name now stands for 127.0.0.2" in said[0]


def test_a_short_ttl_is_followed_though_the_interval_is_long() -> None:
    async def main() -> None:
        names = Names("127.0.0.1")
        names.ttl = 0.0  # not looked up for every request either
        async with host("127.0.0.1", "127.0.0.2") as found, asked(found.port, names, every=60_000) as origins:
            assert [await ask(origins) for _ in range(20)] == ["127.0.0.1"] * 20
            assert names.asked == 1
            names.addresses = ["127.0.0.2"]
            await until(lambda: names.asked > 1)  # by itself: a connection is held
            assert await ask(origins) == "127.0.0.2"

    run(main())


def test_a_long_ttl_does_not_outlast_the_interval() -> None:
    async def main() -> None:
        names = Names("127.0.0.1")
        names.ttl = 86_400.0
        async with host("127.0.0.1") as found, asked(found.port, names) as origins:
            await ask(origins)
            await until(lambda: names.asked > 1)

    run(main())


def test_an_exchange_under_way_ends_on_the_old_address() -> None:
    async def main() -> None:
        names = Names("127.0.0.1")
        async with host("127.0.0.1", "127.0.0.2") as found, asked(found.port, names) as origins:
            found.hold = asyncio.Event()
            task = asyncio.create_task(ask(origins))
            await until(lambda: found.connections.get("127.0.0.1") == 1)
            names.addresses = ["127.0.0.2"]
            server = origins.upstream("app").servers[0]
            assert server.addresses is not None
            await until(lambda: server.addresses is not None and server.addresses.known == ["127.0.0.2"])
            found.hold.set()
            assert await task == "127.0.0.1"
            assert server.pool.idle_count == 0
            assert await ask(origins) == "127.0.0.2"

    run(main())


def test_an_address_more_moves_nothing() -> None:
    async def main() -> None:
        names = Names("127.0.0.1")
        async with host("127.0.0.1", "127.0.0.2") as found, asked(found.port, names) as origins:
            assert await ask(origins) == "127.0.0.1"
            names.addresses = ["127.0.0.2", "127.0.0.1"]
            await until(lambda: names.asked >= 2)
            await asyncio.sleep(0.02)
            assert await ask(origins) == "127.0.0.1"
            assert found.connections == {"127.0.0.1": 1}

    run(main())


def test_old_addresses_serve_while_the_resolver_is_away() -> None:
    said: list[str] = []

    async def main() -> None:
        names = Names("127.0.0.1")
        async with host("127.0.0.1") as found, asked(found.port, names, said) as origins:
            assert await ask(origins) == "127.0.0.1"
            names.fails = True
            await until(lambda: len(said) == 1)
            assert await ask(origins) == "127.0.0.1"
            names.fails = False
            await until(lambda: len(said) == 2)
            names.hold = asyncio.Event()  # a resolver that does not answer holds up nobody who has an address
            count = names.asked
            await until(lambda: names.asked > count)
            origins.upstream("app").servers[0].pool.renew()
            assert await ask(origins) == "127.0.0.1"

    run(main())
    assert "can't be resolved (Temporary failure in name resolution); its old addresses are used" in said[0]
    assert "its name is resolved again" in said[1]


def test_without_any_address_the_request_fails() -> None:
    async def main() -> None:
        names = Names()
        async with asked(1, names) as origins:
            assert await ask(origins) == "dns"
        names.fails = True
        async with asked(1, names) as origins:
            assert await ask(origins) == "dns"
        names.fails, names.hold = False, asyncio.Event()
        async with asked(1, names, connect=300) as origins:
            assert await ask(origins) == "connect-timeout"

    run(main())


def test_nobody_looks_while_no_connection_is_held() -> None:
    async def main() -> None:
        names = Names("127.0.0.1")
        async with host("127.0.0.1") as found, asked(found.port, names, every=30) as origins:
            assert await ask(origins) == "127.0.0.1"
            origins.upstream("app").servers[0].pool.renew()
            await asyncio.sleep(0.1)
            count = names.asked
            await asyncio.sleep(0.2)
            assert names.asked == count

    run(main())


def test_a_refusing_address_and_a_silent_one_are_passed_over_and_tried_last_for_a_while() -> None:
    async def main() -> None:
        names = Names("127.0.0.1", "127.0.0.2", "127.0.0.3")
        async with host("127.0.0.3") as found:
            with silent(found.port, "127.0.0.2"):
                async with asked(found.port, names, every=60_000) as origins:
                    loop = asyncio.get_running_loop()
                    server = origins.upstream("app").servers[0]
                    for _ in range(3):
                        assert await ask(origins) == "127.0.0.3"
                        server.pool.renew()
                    before = loop.time()
                    for _ in range(6):
                        assert await ask(origins) == "127.0.0.3"
                        server.pool.renew()
                    assert loop.time() - before < 0.2  # the silent one is not waited for again
                    assert server.stats()["failures"] == {}

    run(main())


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_ipv6_by_literal_and_by_name() -> None:
    async def main() -> None:
        async with host("::1") as found:
            literal = Origin("app", (Server(Address("http", "::1", found.port)),), timeouts=FAST)
            origins = Origins({"app": literal})
            response = await origins.fetch("app", GET, None, body_length=None)
            assert response.server == f"http://[::1]:{found.port}"
            assert (await drain(response)).body == b"::1"
            await origins.close()
            async with asked(found.port, Names("127.0.0.9", "::1"), every=60_000) as origins:
                assert await ask(origins) == "::1"

    run(main())


def test_the_families_take_turns_where_addresses_fail() -> None:
    async def main() -> None:
        names = Names("::2", "::3", "127.0.0.1", "127.0.0.2")
        async with asked(1, names) as origins:
            server = origins.upstream("app").servers[0]
            assert server.addresses is not None
            orders = [await server.addresses.get() for _ in range(4)]
            assert {order[0] for order in orders} == set(names.addresses)
            for order in orders:
                assert (":" in order[0]) != (":" in order[1])
                assert sorted(order) == sorted(names.addresses)
            server.addresses.bad("::2")
            for _ in range(4):
                assert (await server.addresses.get())[-1] == "::2"

    run(main())


def test_a_unix_socket(tmp_path: Path) -> None:
    heads: list[bytes] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer, 0)
        while head := await peer.request():
            heads.append(head)
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nunix")
        writer.close()

    async def main() -> None:
        path = str(tmp_path / "app.sock")
        address = Address("http", "localhost", 80, path)
        origin = Origin("app", (Server(address),), timeouts=FAST, connections=Connections(per_server=1))
        origins = Origins({"app": origin})
        with pytest.raises(OriginError) as caught:
            await origins.fetch("app", GET, None, body_length=None)
        assert (caught.value.kind, caught.value.server) == (Kind.CONNECT_REFUSED, f"unix:{path}")
        server = await asyncio.start_unix_server(script, path)
        assert [await ask(origins) for _ in range(3)] == ["unix"] * 3
        assert origins.stats()["app"]["servers"][f"unix:{path}"]["opened"] == 1
        server.close()
        await origins.close()

    run(main())
    assert heads[0] == b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
