"""Deadlines: whoever stalls is cut, whoever moves is not, also behind the last byte of an answer."""

from __future__ import annotations

import threading
import time

import pytest

from tests.harness import Closed, Conn, Origin, RawClient, fresh, reply, request_bytes, site
from tests.harness.proxy import Proxy

SIZES = range(1 << 20, 6 << 20, 192 << 10)  # around what a socket takes whose other end does not read


def _all_of(client: RawClient) -> int:
    """How many bytes come until the end."""
    got = 0
    while True:
        try:
            data = client.wire.sock.recv(1 << 20)
        except ConnectionResetError:
            return got
        if not data:
            return got
        got += len(data)


@pytest.mark.parametrize("kind", ["stored", "passed"])
def test_a_slow_but_live_reader_gets_all_of_a_closing_answer(kind: str) -> None:
    """`Connection: close` ends the connection behind the answer, not inside it. The pause is shorter than any
    deadline on reading."""
    rules = {f"/stored/{size}": fresh(600, bytes(size)) for size in SIZES}
    rules |= {f"/passed/{size}": reply(200, {"Cache-Control": "no-store"}, bytes(size)) for size in SIZES}
    with Origin(rules, patience=60) as origin, Proxy(site(origin, store={"memory": "128 MiB"})) as proxy:
        clients = {}
        for size in SIZES:
            if kind == "stored":
                proxy.get(f"/stored/{size}")
            clients[size] = proxy.client(receive_buffer=64 << 10, timeout=20)
            clients[size].request("GET", f"/{kind}/{size}", {"Connection": "close"})
        time.sleep(4)
        short = {size: size - got for size, client in clients.items() if (got := _all_of(client)) < size}
        assert not short


@pytest.mark.parametrize("how", ["kept", "half-closed", "closing"])
def test_a_reader_that_never_takes_the_last_bytes_is_cut(how: str) -> None:
    """Behind the last byte written the client still owes to read it: no connection stays for ever."""
    body = bytes(16 << 10)
    with Origin(fresh(600, body), patience=30) as origin:
        tree = site(origin, timeouts={"idle": "1s", "head": "1s", "body_min_rate": "64 KiB/s"})
        with Proxy(tree) as proxy:
            proxy.get("/a")
            for size in SIZES:
                client = proxy.client(receive_buffer=4 << 10)
                client.send(request_bytes("GET", "/a") * (size // len(body)))
                if how == "closing":
                    client.send(request_bytes("GET", "/a", {"Connection": "close"}))
                if how == "half-closed":
                    client.half_close()
            time.sleep(13)
            assert proxy.stats()["connections"]["open"] == 0


@pytest.mark.parametrize(("method", "host"), [("HEAD", "site.test"), ("GET", "nobody.test")])
def test_what_waits_on_a_connection_is_bounded(method: str, host: str) -> None:
    """Pipelined requests of a client that reads nothing: neither they nor their answers pile up here."""
    with Origin(fresh(600, b"x", x_long="y" * 2000)) as origin, Proxy(site(origin)) as proxy:
        proxy.get("/a")
        client = proxy.client(receive_buffer=4 << 10)
        before = _resident()
        many = request_bytes(method, "/a", host=host) * 5000
        client.wire.sock.settimeout(3)
        taken = 0
        try:
            while taken < 64 << 20:
                taken += client.wire.sock.send(many)
        except OSError:
            pass
        grown = _resident() - before
        assert taken < 24 << 20, f"{taken >> 20} MiB of requests were taken in"  # most of it by the sockets
        assert grown < 16 << 20, f"{grown >> 20} MiB grown"
        assert proxy.get("/a").body == b"x"


def _resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


def test_a_reader_that_goes_on_after_a_pause_is_not_cut() -> None:
    """A pause is none of the time in which bytes should have moved: what counts is the rate while they move."""
    body = bytes(14 << 20)
    tree = site(0, timeouts={"body_min_rate": "256 KiB/s", "idle": "60s"}, store={"memory": "64 MiB"})
    with Origin(fresh(600, body), patience=60) as origin:
        tree["origins"]["app"]["servers"] = [origin.url]
        with Proxy(tree) as proxy:
            proxy.get("/a")
            clients = [proxy.client(receive_buffer=64 << 10, timeout=20) for _ in range(4)]
            for client in clients:
                client.request("GET", "/a")
            got: dict[int, int] = {}

            def read(index: int) -> None:
                time.sleep(14 + index)  # each at another moment of the proxy's round of looks
                got[index] = _all_at(clients[index], 1 << 20)

            crew = [threading.Thread(target=read, args=(index,)) for index in range(len(clients))]
            for thread in crew:
                thread.start()
            for thread in crew:
                thread.join()
            assert {index: n for index, n in got.items() if n < len(body)} == {}


def _all_at(client: RawClient, rate: int) -> int:
    """How many body bytes come when about `rate` bytes a second are read."""
    _, reader = client.read_head()
    got, begin = 0, time.monotonic()
    try:
        while data := reader.some():
            got += len(data)
            time.sleep(max(0.0, got / rate - (time.monotonic() - begin)))
    except (Closed, OSError):
        pass
    return got


def test_a_tunnel_whose_client_reads_nothing_ends() -> None:
    """What a client does not take is bounded in a tunnel as elsewhere (a silent tunnel is another matter)."""

    def script(conn: Conn) -> None:
        conn.expect("GET", "/ws")
        conn.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        try:
            while True:
                conn.wire.sock.sendall(bytes(1 << 20))
        except OSError:
            pass

    with Origin.scripted(script, patience=30) as origin:
        tree = site(origin, timeouts={"idle": "2s", "body_min_rate": "64 KiB/s"})
        with Proxy(tree) as proxy:
            client = proxy.client(receive_buffer=4 << 10)
            client.request("GET", "/ws", {"Connection": "upgrade", "Upgrade": "websocket"})
            time.sleep(15)
            assert proxy.stats()["connections"]["open"] == 0
