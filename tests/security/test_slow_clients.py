"""Slow clients: a head, a body or a reader that drips is cut in time, and nobody else notices.

Deadlines of a head are absolute (dripping does not move them), bodies and readers have a minimum rate,
connections are bounded in all and per address. Counts are small here; the `full` variant has the numbers of
the threat table.
"""

from __future__ import annotations

import time

import pytest

from tests.harness import Origin, RawClient, fresh, reply, request_bytes, site
from tests.harness.process import Serve
from tests.harness.proxy import Proxy


def drip(clients: list[RawClient], seconds: float) -> int:
    """A field byte from each client, again and again, for so long; how many are not cut by then."""
    end = time.monotonic() + seconds
    alive = list(clients)
    while alive and time.monotonic() < end:
        for client in list(alive):
            try:
                client.send(b"y")
            except OSError:
                alive.remove(client)
        time.sleep(0.1)
    return len(alive)


def drip_until_cut(client: RawClient, piece: bytes, seconds: float) -> None:
    """`piece` ten times a second until the proxy answers, closes or resets."""
    end = time.monotonic() + seconds
    while client.wire.silent(0.1):
        assert time.monotonic() < end, f"still taken in after {seconds:g} s"
        try:
            client.send(piece)
        except OSError:
            return


def latencies(port: int, count: int) -> list[float]:
    """Seconds of each of `count` hits on one connection, sorted."""
    with RawClient(port) as client:
        times = []
        for _ in range(count):
            begin = time.perf_counter()
            assert client.get("/a").status == 200
            times.append(time.perf_counter() - begin)
    return sorted(times)


def slowloris(count: int) -> None:
    timeouts = {"head": "1s", "idle": "30s"}
    with Origin(fresh(600)) as origin:
        tree = site(
            origin, timeouts=timeouts, log={"access": False}, limits={"connections_per_address": 20_000}
        )
        with Serve(tree) as node:
            node.get("/a")
            before, memory = latencies(node.port, 500), node.resident()
            clients = [RawClient(node.port) for _ in range(count)]
            try:
                for client in clients:
                    client.send(b"GET /a HTTP/1.1\r\nHost: site.test\r\nX-Slow: ")
                during = latencies(node.port, 500)
                grown = node.resident() - memory
                assert drip(clients, 8) == 0  # the head's second, the wheel's, and two of lingering
            finally:
                for client in clients:
                    client.close()
            assert grown < count * 32_768 + (4 << 20)
            # as quick as before, give or take what the machine itself does
            assert during[-6] < max(before[-6] * 5, 0.05)
            assert node.get("/a").status == 200


def test_two_hundred_dripping_heads() -> None:
    slowloris(200)


@pytest.mark.full
@pytest.mark.alone
def test_a_thousand_dripping_heads() -> None:
    slowloris(1000)


def test_a_dripping_head_is_cut_however_regular() -> None:
    with Origin(fresh(60)) as origin, Proxy(site(origin, timeouts={"head": "1s"})) as proxy:
        with proxy.client() as client:
            begin = time.monotonic()
            client.send(b"GET /a HTTP/1.1\r\n")
            drip_until_cut(client, b"X: y\r\n", 4)
            assert time.monotonic() - begin < 3.5
            rest = client.wire.until_closed()
            assert rest == b"" or rest.startswith(b"HTTP/1.1 408")
        assert origin.count() == 0


def test_the_deadline_of_a_second_head_is_its_own() -> None:
    """Time that a request waited for its answer does not count against the next head."""
    with Origin(fresh(60)) as origin, Proxy(site(origin, timeouts={"head": "1s", "idle": "10s"})) as proxy:
        with proxy.client() as client:
            client.get("/a")
            time.sleep(1.5)
            assert client.get("/a").status == 200
            time.sleep(1.5)
            client.send(request_bytes("GET", "/a")[:20])
            time.sleep(0.3)
            client.send(request_bytes("GET", "/a")[20:])
            assert client.read_response().status == 200
        assert origin.count() == 1


@pytest.mark.parametrize("framing", ["Content-Length: 100000", "Transfer-Encoding: chunked"])
def test_a_dripping_body_is_cut(framing: str) -> None:
    with Origin(reply(200)) as origin, Proxy(site(origin, timeouts={"body_min_rate": "1 KiB/s"})) as proxy:
        with proxy.client(timeout=20) as client:
            client.send(f"POST /up HTTP/1.1\r\nHost: site.test\r\n{framing}\r\n\r\n".encode())
            begin = time.monotonic()
            drip_until_cut(client, b"y" if "Length" in framing else b"1\r\ny\r\n", 18)
            assert time.monotonic() - begin < 15
        assert origin.count() <= 1


def test_a_reader_that_does_not_read_is_cut() -> None:
    """What is stored is sent by the front, what passes by an exchange: both have the rate."""
    body = bytes(24 << 20)
    rules = {"/stored": fresh(600, body), "/passed": reply(200, {"Cache-Control": "no-store"}, body)}
    tree = site(0, timeouts={"body_min_rate": "64 KiB/s", "idle": "4s"}, store={"memory": "64 MiB"})
    with Origin(rules, patience=30) as origin:
        tree["origins"]["app"]["servers"] = [origin.url]
        with Proxy(tree) as proxy:
            assert len(proxy.get("/stored").body) == len(body)
            clients = [proxy.client(receive_buffer=8 << 10, timeout=20) for _ in rules]
            for client, target in zip(clients, rules, strict=True):
                client.request("GET", target)
            time.sleep(13)  # two looks at the rate, the second of which finds nothing moved
            for client in clients:
                got = client.read_response(tolerate_abort=True)
                assert got.aborted
                assert len(got.body) < len(body)
            assert proxy.stats()["connections"]["open"] == 0


def test_connections_are_bounded_per_address() -> None:
    with Origin(fresh(60)) as origin, Proxy(site(origin, limits={"connections_per_address": 10})) as proxy:
        clients = [proxy.client() for _ in range(10)]
        for client in clients:
            assert client.get("/a").status == 200
        for _ in range(5):
            with RawClient(proxy.port) as surplus:
                try:
                    surplus.request("GET", "/a")
                except OSError:
                    continue
                rest = surplus.wire.until_closed()
                assert rest == b"" or rest.startswith(b"HTTP/1.1 503")
        for client in clients:
            assert client.get("/a").status == 200
        with RawClient(proxy.port, source="127.0.0.2") as another:
            assert another.get("/a").status == 200
        for client in clients:
            client.close()
        proxy.client(source="127.0.0.3").get("/a")
        assert proxy.client().get("/a").status == 200
        assert origin.count() == 1


def test_connections_are_bounded_in_all() -> None:
    limits = {"connections": 8, "connections_per_address": 100}
    with Origin(fresh(60)) as origin, Proxy(site(origin, limits=limits)) as proxy:
        clients = [proxy.client(source=f"127.0.0.{number + 1}") for number in range(8)]
        for client in clients:
            assert client.get("/a").status == 200
        with RawClient(proxy.port) as surplus:
            try:
                surplus.request("GET", "/a")
                rest = surplus.wire.until_closed()
            except OSError:
                rest = b""
            assert not rest.startswith(b"HTTP/1.1 200")
        assert clients[0].get("/a").status == 200
        assert origin.count() == 1
