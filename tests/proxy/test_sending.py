"""Stored bodies that leave behind their heads in one call: whatever the socket takes of it, the bytes are right."""

from __future__ import annotations

import random
import socket
import time

import pytest

from cdn.config.values import Address
from cdn.proxy import listening, worker
from tests.harness import Origin, fresh, request_bytes, site
from tests.harness.proxy import Proxy
from tests.harness.site import Tree
from tests.harness.tls import certificate

LARGE = random.Random(1).randbytes(700_000)


@pytest.fixture
def send_buffer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is accepted has a send buffer of so many bytes; the kernel lets it inherit the listener's."""

    def bind(address: Address) -> list[socket.socket]:
        made = listening.bind(address)
        for sock in made:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, request.param)
        return made

    monkeypatch.setattr(worker, "bind", bind)


def listening_site(origin: Origin, tls: bool) -> Tree:
    if not tls:
        return site(origin)
    chain, key = certificate("site.test")
    return site(origin, listen=[{"url": "https://127.0.0.1:0", "certificate": str(chain), "key": str(key)}])


@pytest.mark.parametrize(
    ("send_buffer", "receive_buffer"),
    [(9 << 10, 4 << 10), (64 << 10, 200 << 10)],
    ids=["nothing fits", "full between answers"],
    indirect=["send_buffer"],
)
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_ranges_behind_each_other_through_a_small_socket(
    send_buffer: None, receive_buffer: int, tls: bool
) -> None:
    """Heads and bodies meet a full socket at every place: between them, in one, in the other."""
    dice = random.Random(2)
    with Origin(lambda request: fresh(60, LARGE)) as origin, Proxy(listening_site(origin, tls)) as proxy:
        with proxy.client(tls=tls) as first:
            assert first.get("/large").body == LARGE
        asked: list[tuple[int, int]] = []
        for begin in dice.sample(range(600_000), 60):
            # short answers are copied behind their heads: they fill the socket to any degree for the long one's
            asked += [(begin, begin + dice.randint(100, 3_000))] * dice.randint(0, 4)
            asked.append((begin, begin + dice.randint(17_000, 19_000)))
        with proxy.client(tls=tls, receive_buffer=receive_buffer) as client:
            client.send(
                b"".join(request_bytes("GET", "/large", {"Range": f"bytes={a}-{b}"}) for a, b in asked)
            )
            for begin, end in asked:
                time.sleep(0.002)  # let the socket fill
                answer = client.read_response()
                assert answer.status == 206
                assert answer["content-range"] == f"bytes {begin}-{end}/{len(LARGE)}"
                assert answer.body == LARGE[begin : end + 1]
            client.expect_open()
        assert proxy.stats()["hit_lane"]["ranges"] == len(asked)
        assert origin.count() == 1


@pytest.mark.parametrize("target", ["/small", "/large"])
def test_a_last_answer_comes_whole_and_then_the_end(target: str) -> None:
    bodies = {"/small": b"small", "/large": LARGE}
    with Origin(lambda request: fresh(60, bodies[request.target])) as origin, Proxy(site(origin)) as proxy:
        assert proxy.get(target).body == bodies[target]
        for _ in range(20):
            with proxy.client() as client:
                client.send(
                    request_bytes("GET", target) + request_bytes("GET", target, {"Connection": "close"})
                )
                assert client.read_response().body == bodies[target]
                last = client.read_response()
                assert last.body == bodies[target]
                assert last["connection"] == "close"
                client.expect_closed()
        assert origin.count() == 1
