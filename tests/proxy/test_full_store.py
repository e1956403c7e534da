"""A store that is full of bodies on their way in: what comes then passes through, and nobody waits for ever."""

from __future__ import annotations

import time

from tests.harness import Conn, Origin, RawClient, Reply, Request, Signal, reply, site
from tests.harness.proxy import Proxy

WHOLE = 200_000


def test_bodies_that_find_no_space_pass_through() -> None:
    """Eight bodies at once into a store that holds three: all arrive, the node answers meanwhile."""
    go = Signal("go")

    def script(conn: Conn) -> None:
        while (request := conn.read_request()) is not None:
            if request.target == "/small":
                conn.respond(200, {"Cache-Control": "no-store"}, b"small")
                continue
            conn.head(200, {"Cache-Control": "max-age=60", "Content-Length": str(WHOLE)})
            time.sleep(0.05)
            conn.send(b"x" * (WHOLE - 10_000))
            go.wait(10)
            conn.send(b"x" * 10_000)

    with Origin(scripts=[script] * 20, patience=20) as origin:
        with Proxy(site(origin, store={"memory": "1 MiB"})) as proxy:
            clients = [RawClient(proxy.port) for _ in range(8)]
            for index, client in enumerate(clients):
                client.request("GET", f"/{index}")
                time.sleep(0.15)
            assert proxy.get("/small").body == b"small"
            go.set()
            for client in clients:
                assert len(client.read_response().body) == WHOLE
                client.close()


def test_readers_that_hold_the_store_do_not_hold_the_node() -> None:
    """Readers of stored bodies that stop reading keep them in memory; whatever comes then still gets its answer."""
    size = 6 << 20
    rules = {f"/{index}": reply(200, {"Cache-Control": "max-age=600"}, bytes(size)) for index in range(8)}
    with Origin(rules, patience=30) as origin, Proxy(site(origin, store={"memory": "16 MiB"})) as proxy:
        for target in rules:
            assert len(proxy.get(target).body) == size
            reader = proxy.client(receive_buffer=4 << 10)
            reader.request("GET", target)
            time.sleep(0.2)


def test_one_slow_reader_of_a_body_too_large_to_keep_does_not_hold_up_the_others() -> None:
    """They came together; each reads at its own pace, or the slow one is the one that is given up."""
    size, first = 24 << 20, Signal("first")

    def script(conn: Conn) -> None:
        conn.expect("GET", "/a")
        time.sleep(0.3)
        conn.head(200, {"Cache-Control": "max-age=600", "Transfer-Encoding": "chunked"})
        first.set()
        for _ in range(size >> 20):
            conn.chunk(bytes(1 << 20))
        conn.end_chunks()

    with Origin.scripted(script, patience=40) as origin:
        with Proxy(site(origin, limits={"object": "1 MiB"}), patience=10) as proxy:
            slow = proxy.client(receive_buffer=4 << 10)
            slow.request("GET", "/a")
            time.sleep(0.1)
            quick = proxy.client(timeout=10)
            quick.request("GET", "/a")
            assert len(quick.read_response().body) == size


def test_what_the_fill_lane_hands_over_in_a_full_store_is_no_502() -> None:
    """The flight found no room before its client had boarded, and gave up since nobody seemed to want the response."""
    more, go = 1_200_000, Signal("go")

    def rule(request: Request) -> Reply | None:
        if request.target == "/warm":
            return reply(200, {"Cache-Control": "no-store"}, b"warm")
        size = more if request.target == "/more" else int(request.target[1:].partition("-")[0])
        whole = reply(200, {"Cache-Control": "max-age=600"}, bytes(size)).encode()
        if size == more:
            request.conn.send(whole)
            return None
        request.conn.send(whole[:-1])
        go.wait(10)
        request.conn.send(whole[-1:])
        return None

    with Origin(rule, patience=20) as origin, Proxy(site(origin, store={"memory": "2 MiB"})) as proxy:
        clients = []
        for number, size in enumerate(
            [200_000] * 8 + [33_000] * 12 + [17_000] * 12
        ):  # until no block is free
            client = proxy.client()
            client.request("GET", f"/{size}-{number}")
            clients.append((client, size))
            origin.wait_for(1, f"/{size}-{number}")
        time.sleep(0.2)
        with proxy.client() as client:
            client.ask("POST", "/warm")  # a kept connection for the lane
            assert len(client.get("/more").body) == more
        go.set()
        for client, size in clients:
            assert len(client.read_response().body) == size
