"""Deadlines: whoever stalls is cut, whoever moves is not, also behind the last byte of an answer."""

from __future__ import annotations

import time

import pytest

from tests.harness import Origin, RawClient, fresh, reply, request_bytes, site
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
