"""Several servers: how requests spread, when a server is left alone and comes back, who waits, what is asked again."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from cdn.config.values import Address, Connections, Eject, HealthCheck, Origin, Retry, Server
from cdn.tier import Attempt, Kind, OriginError, OriginRequest, Origins
from cdn.tier.balance import hashed, least_connections
from cdn.tier.own import OwnServer
from cdn.tier.rendezvous import hash_of
from cdn.tier.upstream import Upstream
from tests.tier.scripted import FAST, Peer, Scripted, drain, free_port, run, scripted, until

GET = OriginRequest("GET", "/", "www.example.com")
QUICK = Eject(failures=3, pause=400, longest=1_600, slow_return=0)


class Site:
    """A scripted server that says its name, for as long as it is `well`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.well = True
        self.sick = ""  # what it does otherwise
        self.hold: asyncio.Event | None = None
        self.asked = 0
        self.checks: list[bytes] = []
        self.check_status = 200
        self.origin: Scripted

    async def script(self, peer: Peer) -> None:
        while head := await peer.request():
            if head.startswith(b"GET /healthz"):
                self.checks.append(head)
                await peer.send(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % self.check_status)
                continue
            self.asked += 1
            if self.hold is not None:
                await self.hold.wait()
            if not self.well:
                if self.sick == "stall":
                    await peer.closed()
                elif self.sick == "503":
                    await peer.send(b"HTTP/1.1 503 Down\r\nContent-Length: 4\r\n\r\ndown")
                    continue
                elif self.sick == "cut":
                    await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
                else:
                    peer.reset()
                return
            name = self.name.encode()
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(name), name))

    @property
    def address(self) -> Address:
        return Address("http", "127.0.0.1", self.origin.port)

    @property
    def url(self) -> str:
        return str(self.address)


@contextlib.asynccontextmanager
async def sites(count: int) -> AsyncIterator[list[Site]]:
    async with contextlib.AsyncExitStack() as stack:
        found = [Site("abcdefgh"[n]) for n in range(count)]
        for site in found:
            site.origin = await stack.enter_async_context(scripted(site.script))
        yield found


@contextlib.asynccontextmanager
async def pool(
    *servers: Site | Address, said: list[str] | None = None, **more: Any
) -> AsyncIterator[Origins]:
    more.setdefault("timeouts", replace(FAST, first_byte=100))
    more.setdefault("eject", QUICK)
    listed = tuple(Server(one.address if isinstance(one, Site) else one) for one in servers)
    origin = Origin("app", listed, **more)
    heard = said if said is not None else []
    origins = Origins({"app": origin}, start=0, report=lambda kind, sentence: heard.append(sentence))
    try:
        yield origins
    finally:
        await origins.close()


async def ask(origins: Origins, key: int = 0, request: OriginRequest = GET) -> str:
    """The server's name, or what went wrong."""
    try:
        got = await drain(await origins.fetch("app", request, None, body_length=None, key=key))
    except OriginError as error:
        return error.kind.value
    return got.kind or got.body.decode()


async def turns(origins: Origins, count: int) -> str:
    return "".join([await ask(origins) for _ in range(count)])


def state(origins: Origins, site: Site) -> str:
    return str(origins.stats()["app"]["servers"][site.url]["state"])


# --- how requests spread


def test_by_hash_each_key_has_its_server() -> None:
    async def main() -> None:
        async with sites(3) as found, pool(*found, balance="hash") as origins:
            keys = [hash_of(b"%d" % n) for n in range(60)]
            first = [await ask(origins, key) for key in keys]
            assert [await ask(origins, key) for key in keys] == first
            assert min(Counter(first).values()) > 8
            found[1].well = False
            after = [await ask(origins, key) for key in keys]
            # b answers no more; only its keys have another server
            assert all(old == new for old, new in zip(first, after, strict=True) if old != "b")
            assert "b" not in after

    run(main())


def test_by_least_connections_the_slow_server_gets_little() -> None:
    async def main() -> None:
        async with sites(2) as found, pool(*found, balance="least_connections", timeouts=FAST) as origins:
            slow = found[0]
            slow.hold = asyncio.Event()
            held = [asyncio.create_task(ask(origins))]
            await until(lambda: slow.asked == 1)
            assert await turns(origins, 6) == "bbbbbb"
            slow.hold.set()
            await asyncio.gather(*held)
            assert set(await turns(origins, 4)) == {"a", "b"}

    run(main())


# --- health by what requests say


@pytest.mark.parametrize("sick", ["stall", "reset", "503", "cut"])
def test_a_server_that_fails_is_left_alone_and_comes_back(sick: str) -> None:
    said: list[str] = []

    async def main() -> None:
        eject = replace(QUICK, statuses=(503,))
        async with sites(2) as found, pool(*found, said=said, eject=eject) as origins:
            bad = found[0]
            bad.well, bad.sick = False, sick
            answers = [await ask(origins) for _ in range(8)]
            assert state(origins, bad) == "ejected"
            assert bad.asked == 3  # as many failures in a row as it takes
            if sick in ("stall", "reset"):
                assert answers == ["b"] * 8  # asked again where it is safe
            assert await turns(origins, 4) == "bbbb"
            bad.well = True
            await asyncio.sleep(0.42)
            assert state(origins, bad) == "returning"
            assert "a" in await turns(origins, 2)
            assert state(origins, bad) == "up"
            assert Counter(await turns(origins, 8)) == {"a": 4, "b": 4}
            stats = origins.stats()["app"]["servers"][bad.url]
            assert stats["ejections"] == 1
            assert stats["answered"] > 4

    run(main())
    assert len(said) == 2
    assert "is ejected for 0.4 s" in said[0]
    assert said[1].endswith("is back")


def test_a_refusing_server_is_ejected_at_once_and_longer_each_time() -> None:
    said: list[str] = []

    async def main() -> None:
        async with sites(1) as found:
            dead = Address("http", "127.0.0.1", free_port())
            async with pool(dead, *found, said=said) as origins:
                for _ in range(3):
                    assert await turns(origins, 4) == "aaaa"
                    await asyncio.sleep(0.82)

    run(main())
    assert ["again" in line for line in said[:3]] == [False, True, True]
    assert "for 0.4 s" in said[0]
    assert "for 0.8 s" in said[1]
    assert "for 1.6 s" in said[2]


def test_a_single_server_is_asked_even_when_it_is_ejected() -> None:
    async def main() -> None:
        async with (
            sites(1) as found,
            pool(*found, eject=replace(QUICK, pause=60_000, longest=60_000)) as origins,
        ):
            found[0].well = False
            assert [await ask(origins) for _ in range(5)] == ["reset"] * 5
            assert state(origins, found[0]) == "ejected"
            found[0].well = True
            assert await turns(origins, 3) == "aaa"
            assert state(origins, found[0]) == "up"

    run(main())


def test_a_server_that_drains_gets_nothing_new() -> None:
    async def main() -> None:
        async with sites(2) as found:
            servers = (Server(found[0].address, drain=True), Server(found[1].address))
            origins = Origins({"app": Origin("app", servers, timeouts=FAST)})
            assert await turns(origins, 4) == "bbbb"
            assert state(origins, found[0]) == "draining"
            await origins.close()
            alone = Origins({"app": Origin("app", servers[:1], timeouts=FAST)})
            assert await ask(alone) == "no-server"
            await alone.close()

    run(main())


# --- backups


def test_backups_are_asked_only_when_no_primary_can_be() -> None:
    async def main() -> None:
        async with sites(3) as found:
            one, two, spare = found
            async with pool(one, two, backup=(Server(spare.address),)) as origins:
                assert Counter(await turns(origins, 8)) == {"a": 4, "b": 4}
                one.well = False
                assert set(await turns(origins, 8)) == {"b"}
                assert spare.asked == 0
                two.well = False
                assert set(await turns(origins, 4)) == {"c"}  # both fail this request, then both are ejected
                one.well = two.well = True
                await asyncio.sleep(0.45)
                await turns(origins, 4)
                before = spare.asked
                assert Counter(await turns(origins, 8)) == {"a": 4, "b": 4}
                assert spare.asked == before

    run(main())


# --- the budget for further tries


def test_without_budget_a_failure_is_told() -> None:
    async def main() -> None:
        retry = Retry(budget=0, minimum=2)
        eject = replace(QUICK, failures=1000)
        async with sites(2) as found, pool(*found, retry=retry, eject=eject) as origins:
            found[0].well = False
            answers = [await ask(origins) for _ in range(12)]
            assert answers.count("reset") == 4  # a's six turns but for the two that were paid for
            assert answers.count("b") == 8
            stats = origins.stats()["app"]
            assert (stats["retries"], stats["retries_refused"]) == (2, 4)

    run(main())


@pytest.mark.parametrize("retry", [Retry(tries=1), Retry(within=0)])
def test_no_further_try_is_made_where_none_is_wanted(retry: Retry) -> None:
    async def main() -> None:
        async with sites(2) as found, pool(*found, retry=retry) as origins:
            found[0].well = False
            assert await ask(origins) == "reset"
            assert found[1].asked == 0

    run(main())


def test_tries_end_when_the_time_is_up() -> None:
    async def main() -> None:
        async with sites(4) as found, pool(*found, retry=Retry(tries=4, within=150)) as origins:
            for site in found:
                site.well, site.sick = False, "stall"
            assert await ask(origins) == "first-byte-timeout"
            assert [site.asked for site in found] == [1, 1, 0, 0]

    run(main())


# --- limits and the queue


def test_no_more_at_once_than_the_limit_and_the_rest_waits() -> None:
    async def main() -> None:
        limits = Connections(per_server=2, queue=10, wait=5_000)
        async with sites(2) as found, pool(*found, connections=limits, timeouts=FAST) as origins:
            gates = [asyncio.Event(), asyncio.Event()]
            for site, gate in zip(found, gates, strict=True):
                site.hold = gate
            done: list[int] = []

            async def one(number: int) -> None:
                assert await ask(origins) in ("a", "b")
                done.append(number)

            tasks = []
            for number in range(10):
                tasks.append(asyncio.create_task(one(number)))
                await asyncio.sleep(0.005)
            await until(lambda: sum(site.asked for site in found) == 4)
            await asyncio.sleep(0.03)
            assert [site.asked for site in found] == [2, 2]
            stats = origins.stats()["app"]
            assert stats["queue_waiting"] == 6
            assert [server["busy"] for server in stats["servers"].values()] == [2, 2]
            for gate in gates:
                gate.set()
            await asyncio.gather(*tasks)
            assert sorted(done[4:]) == [4, 5, 6, 7, 8, 9]
            assert [site.origin.connections for site in found] == [2, 2]  # never more than the limit
            stats = origins.stats()["app"]
            assert (stats["queue_waiting"], stats["queue_waited"], stats["queue_full"]) == (0, 6, 0)

    run(main())


def test_who_waits_longest_is_served_first() -> None:
    async def main() -> None:
        limits = Connections(per_server=1, queue=10, wait=5_000)
        async with sites(1) as found, pool(*found, connections=limits, timeouts=FAST) as origins:
            found[0].hold = asyncio.Event()
            done: list[int] = []

            async def one(number: int) -> None:
                assert await ask(origins) == "a"
                done.append(number)

            tasks = [asyncio.create_task(one(number)) for number in range(6)]
            await until(lambda: origins.stats()["app"]["queue_waiting"] == 5)
            found[0].hold.set()
            await asyncio.gather(*tasks)
            assert done == list(range(6))

    run(main())


def test_a_full_queue_and_a_long_wait_are_503() -> None:
    async def main() -> None:
        limits = Connections(per_server=1, queue=1, wait=80)
        async with sites(1) as found, pool(*found, connections=limits, timeouts=FAST) as origins:
            found[0].hold = asyncio.Event()
            first = asyncio.create_task(ask(origins))
            await until(lambda: found[0].asked == 1)
            second = asyncio.create_task(origins.fetch("app", GET, None, body_length=None))
            await asyncio.sleep(0.01)
            with pytest.raises(OriginError) as caught:
                await origins.fetch("app", GET, None, body_length=None)
            assert (caught.value.kind, caught.value.status) == (Kind.QUEUE_FULL, 503)
            with pytest.raises(OriginError) as caught:
                await second
            assert (caught.value.kind, caught.value.status) == (Kind.QUEUE_TIMEOUT, 503)
            found[0].hold.set()
            assert await first == "a"
            assert await ask(origins) == "a"
            stats = origins.stats()["app"]
            assert (stats["queue_full"], stats["queue_late"], stats["queue_waiting"]) == (1, 1, 0)
            assert stats["servers"][found[0].url]["failures"] == {}  # no fault of the server

    run(main())


def test_who_gives_up_waiting_leaves_his_place_to_the_next() -> None:
    async def main() -> None:
        limits = Connections(per_server=1, queue=10, wait=5_000)
        async with sites(1) as found, pool(*found, connections=limits, timeouts=FAST) as origins:
            found[0].hold = asyncio.Event()
            tasks = [asyncio.create_task(ask(origins)) for _ in range(5)]
            await until(lambda: found[0].asked == 1 and origins.stats()["app"]["queue_waiting"] == 4)
            tasks[1].cancel()
            tasks[3].cancel()
            await asyncio.sleep(0)
            found[0].hold.set()
            got = await asyncio.gather(*tasks, return_exceptions=True)
            assert [g for g in got if isinstance(g, str)] == ["a", "a", "a"]
            assert origins.stats()["app"]["servers"][found[0].url]["busy"] == 0

    run(main())


def test_a_storm_on_a_limit_ends_with_every_place_free() -> None:
    async def main() -> None:
        limits = Connections(per_server=3, queue=200, wait=60)
        async with (
            sites(2) as found,
            pool(*found, connections=limits, timeouts=replace(FAST, first_byte=50)) as origins,
        ):
            found[1].sick = "stall"

            async def one(number: int) -> None:
                with contextlib.suppress(TimeoutError, OriginError):
                    async with asyncio.timeout(0.02 if number % 5 == 0 else 5):
                        await ask(origins)

            for round_ in range(4):
                found[1].well = round_ % 2 == 0
                await asyncio.gather(*(one(n) for n in range(60)))
            stats = origins.stats()["app"]
            await until(lambda: not any(s["busy"] for s in origins.stats()["app"]["servers"].values()))
            assert stats["queue_waiting"] == 0
            assert all(server.reserved == 0 for server in origins.upstream("app").servers)
            found[1].well = True
            assert await ask(origins) in ("a", "b")

    run(main())


# --- the whole time


def test_total_bounds_tries_and_the_body() -> None:
    async def main() -> None:
        async def drip(peer: Peer) -> None:
            await peer.request()
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
            await peer.drip(b"x" * 100, 0.02)

        async with sites(1) as found, scripted(drip) as dripping:
            times = replace(FAST, total=250)
            found[0].well, found[0].sick = False, "stall"
            async with pool(*found, timeouts=times) as origins:
                with pytest.raises(OriginError) as caught:
                    await origins.fetch("app", GET, None, body_length=None)
                assert (caught.value.kind, caught.value.status) == (Kind.TOTAL_TIMEOUT, 504)
                assert origins.stats()["app"]["servers"][found[0].url]["failures"] == {"total-timeout": 1}
                await until(lambda: not origins.upstream("app").busy)
            async with pool(Address("http", "127.0.0.1", dripping.port), timeouts=times) as origins:
                got = await drain(await origins.fetch("app", GET, None, body_length=None))
                assert got.kind == "total-timeout"
                assert 0 < len(got.body) < 100
                assert not got.complete
            found[0].well = True
            async with pool(*found, timeouts=times) as origins:
                assert await ask(origins) == "a"
                await asyncio.sleep(0.3)  # an answer that was whole in time is not cut afterwards
                assert await ask(origins) == "a"
                assert found[0].origin.connections == 2

    run(main())


# --- what a lane begins and `ask` goes on with


def of_three(balance: Any) -> tuple[Origins, Upstream, list[OwnServer]]:
    """Servers of weights 1, 3 and 1, and one behind them."""
    servers = [
        Server(Address("http", "127.0.0.1", port), weight) for port, weight in ((1, 1), (2, 3), (3, 1))
    ]
    backup = (Server(Address("http", "127.0.0.1", 4)),)
    origins = Origins({"app": Origin("app", tuple(servers), backup=backup, balance=balance)})
    upstream = origins.upstream("app")
    assert isinstance(upstream, Upstream)
    return origins, upstream, upstream.servers[:3]


async def name_of(server: OwnServer) -> OwnServer:
    return server


def test_the_home_of_a_key_is_what_the_policy_says() -> None:
    async def main() -> None:
        origins, upstream, primaries = of_three("hash")
        keys = [hash_of(b"%d" % n) for n in range(500)]
        assert [upstream.home(key) for key in keys] == [hashed(primaries, 0, key) for key in keys]
        assert len({upstream.home(key) for key in keys}) == 3
        primaries[1].health.plain = False
        assert {upstream.home(key) for key in keys} == {None}
        await origins.close()

    run(main())


def test_the_freest_is_what_the_policy_says() -> None:
    async def main() -> None:
        origins, upstream, primaries = of_three("least_connections")
        others, _, expected = of_three("least_connections")
        for one in (*primaries, *expected):
            one.credit = 0.0  # a worker begins anywhere in its turns
        chance = random.Random(1)
        taken: Counter[str] = Counter()
        for _ in range(2_000):
            freest = upstream.pick()
            assert freest is not None
            assert freest.name == least_connections(expected, 0, 0).name
            assert [one.credit for one in primaries] == [one.credit for one in expected]
            taken[freest.name] += 1
            number = primaries.index(freest)
            for one in (freest, expected[number]):
                one.reserved += 1
            if chance.random() < 0.9:  # somebody's ends
                number = chance.randrange(3)
                for one in (primaries[number], expected[number]):
                    one.reserved = max(0, one.reserved - 1)
        assert len(taken) == 3
        primaries[1].health.plain = False
        assert upstream.freest() is None
        await origins.close()
        await others.close()

    run(main())


def test_another_request_does_not_take_the_server_that_a_failed_one_is_to_have() -> None:
    """What was promised to whoever asked next went to any request of the same turn."""

    async def main() -> None:
        async with sites(2) as found, pool(*found) as origins:
            upstream = origins.upstream("app")
            for _ in range(4):
                a, b = upstream.servers
                since = asyncio.get_running_loop().time()
                reset = OriginError(Kind.RESET, "gone", sent=True)
                attempt = upstream.again(a, reset, since)
                assert attempt == Attempt(since, a, b)
                await upstream.ask("GET", False, 0, name_of)
                assert await upstream.ask("GET", False, 0, name_of, attempt) is b

    run(main())


def test_an_attempt_of_another_configuration_is_asked_anew() -> None:
    async def main() -> None:
        async with sites(1) as found, pool(*found) as before, pool(*found) as after:
            (old,), (new,) = before.upstream("app").servers, after.upstream("app").servers
            attempt = Attempt(asyncio.get_running_loop().time(), old, old)
            assert await after.upstream("app").ask("GET", False, 0, name_of, attempt) is new

    run(main())


def test_the_time_for_all_of_it_begins_with_the_attempt() -> None:
    async def main() -> None:
        async with sites(1) as found, pool(*found, timeouts=replace(FAST, total=5_000)) as origins:
            (server,) = origins.upstream("app").servers
            attempt = Attempt(asyncio.get_running_loop().time() - 6, None, server)
            with pytest.raises(OriginError) as caught:
                await origins.fetch("app", GET, None, body_length=None, attempt=attempt)
            assert caught.value.kind is Kind.TOTAL_TIMEOUT
            attempt = Attempt(asyncio.get_running_loop().time(), None, server)
            got = await drain(await origins.fetch("app", GET, None, body_length=None, attempt=attempt))
            assert got.body == b"a"

    run(main())


def test_a_lane_that_finds_no_kept_connection_has_one_more_made() -> None:
    """With turns the servers had as many as were under way on the mean, and whatever came above that was declined."""

    async def main() -> None:
        async with sites(2) as found, pool(*found, timeouts=FAST) as origins:
            upstream = origins.upstream("app")
            assert upstream.kept() is None
            assert all(
                server.pool.live_count == 0 for server in upstream.servers
            )  # not even one was needed yet
            assert Counter(await turns(origins, 4)) == {"a": 2, "b": 2}
            taken = [upstream.kept() for _ in range(2)]
            assert {one[0] for one in taken if one} == set(upstream.servers)
            assert upstream.kept() is None
            server = upstream.promised
            assert server is not None
            await until(lambda: server.pool.idle_count == 1)
            assert server.pool.live_count == 2
            assert upstream.kept() is not None
            for one in taken:
                assert one is not None
                one[1].give_back()

    run(main())


# --- active checks

CHECK = HealthCheck("/healthz", every=30, timeout=200, rise=2, fall=2)


def test_checks_take_a_server_down_and_up() -> None:
    said: list[str] = []

    async def main() -> None:
        async with (
            sites(2) as found,
            pool(*found, health=replace(CHECK, host="check.example"), said=said) as origins,
        ):
            one = found[0]
            await until(lambda: state(origins, one) == "up")
            assert b"\r\nHost: check.example\r\n" in one.checks[0]
            one.check_status = 500
            await until(lambda: state(origins, one) == "down")
            assert await turns(origins, 4) == "bbbb"
            assert one.asked == 0
            one.check_status = 200
            await until(lambda: state(origins, one) == "up")
            assert Counter(await turns(origins, 4)) == {"a": 2, "b": 2}
            stats = origins.stats()["app"]["servers"][one.url]
            assert (stats["busy"], stats["opened"]) == (0, 1)  # checks are not counted

    run(main())
    assert [line.split(" ", 3)[3] for line in said] == [
        "is down: 2 checks failed (it answers 500)",
        "is up: 2 checks passed",
    ]


def test_a_server_that_answers_no_check_in_time_is_down_and_all_down_are_asked_all_the_same() -> None:
    async def stalled(peer: Peer) -> None:
        if (await peer.request()).startswith(b"GET /healthz"):
            await peer.closed()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nz")
        await peer.closed()

    async def main() -> None:
        async with scripted(stalled) as one, sites(1) as found:
            address = Address("http", "127.0.0.1", one.port)
            dead = Address("http", "127.0.0.1", free_port())
            check = replace(CHECK, timeout=30, statuses=(299,))
            said: list[str] = []
            async with pool(
                address, dead, *found, health=check, said=said, eject=Eject(pause=60_000, longest=60_000)
            ) as origins:
                await until(lambda: len(said) == 3)
                assert sorted(line.partition("(")[2] for line in said)[:2] == [
                    "it answers 200)",
                    "no answer within 0.03 s)",
                ]
                assert any("no connection" in line for line in said)
                assert {await ask(origins) for _ in range(4)} <= {"a", "z"}

    run(main())


def test_checks_end_with_the_origins_and_a_reload_keeps_what_is_known() -> None:
    async def main() -> None:
        async with sites(2) as found:
            servers = tuple(Server(site.address) for site in found)
            origin = Origin(
                "app",
                servers,
                timeouts=FAST,
                health=CHECK,
                eject=replace(QUICK, pause=60_000, longest=60_000),
            )
            found[0].check_status = 503
            old = Origins({"app": origin})
            await until(lambda: state(old, found[0]) == "down")
            new = Origins({"app": replace(origin, balance="hash")}, before=old)
            assert state(new, found[0]) == "down"
            await old.retire()
            await new.close()
            await asyncio.sleep(0.05)
            count = len(found[0].checks)
            await asyncio.sleep(0.1)
            assert len(found[0].checks) == count

    run(main())
