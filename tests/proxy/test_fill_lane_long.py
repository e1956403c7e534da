"""Long bodies that only one client gets: whole, in order and no more, whatever origin, client or wire do."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest

from tests.harness import Origin, PeerGone, Signal, eventually, reply, site
from tests.harness.proxy import Proxy
from tests.proxy.lanes import WARM, Ask, both

OK = b"HTTP/1.1 200 OK\r\n"
KiB = 1024


def body_of(target: str, size: int) -> bytes:
    """Bytes that no other target has, and that are nowhere the same within."""
    return random.Random(f"{target} {size}").randbytes(size)


def sized(request: Any) -> bytes:
    """The body of `/SIZE/NAME`."""
    return body_of(request.target, int(request.target.split("/")[1]))


def plain(request: Any) -> Any:
    return reply(200, {"X-A": "b"}, b"warm" if request.target == WARM else sized(request))


def off(origin: Origin, **timeouts: str) -> dict[str, Any]:
    return site(origin, route={"cache": False}, origin_timeouts=dict(timeouts) or None)


def warm(proxy: Proxy) -> None:
    """A kept connection for the lane, and one long body by way of it."""
    proxy.ask("POST", WARM)
    assert proxy.get("/100000/first").body == body_of("/100000/first", 100_000)


SIZES = [0, 1, 3000, 16 * KiB - 1, 16 * KiB, 16 * KiB + 1, 40_000, 300_000, 1 << 20, 3_000_001]


def test_every_size_is_what_the_general_lane_gives() -> None:
    both(plain, [Ask(f"/{size}/{n}") for n in range(2) for size in SIZES], off, fill=2 * len(SIZES))


@pytest.mark.parametrize("first", [1, 100, 4095, 4096, 4097, 8192, 20_000, 65_536])
def test_a_first_segment_of_any_length_reaches_the_client_before_the_rest_is_there(first: int) -> None:
    """The rest is sent only when the client has all that came before: nothing may wait for it."""
    read = Signal("the client's reading")

    def rule(request: Any) -> Any:
        if not request.target.endswith("held"):
            return plain(request)
        data = OK + b"X-A: b\r\nContent-Length: 100000\r\n\r\n" + sized(request)
        request.conn.send(data[:first])
        if data[:first].find(b"\r\n\r\n") >= 0:
            request.conn.hold(read)
        request.conn.send(data[first:])
        return None

    with Origin(rule) as origin, Proxy(off(origin)) as proxy, proxy.client() as client:
        warm(proxy)
        client.request("GET", "/100000/held")
        if first >= 100:
            _, reader = client.read_head()
            had = reader.exactly(first - len(OK + b"X-A: b\r\nContent-Length: 100000\r\n\r\n"))
            read.set()
            assert had + reader.rest() == body_of("/100000/held", 100_000)
        else:
            assert client.read_response().body == body_of("/100000/held", 100_000)
        assert client.get("/100000/next").body == body_of("/100000/next", 100_000)


def test_a_slow_client_holds_the_origin_up_and_gets_every_byte() -> None:
    size = 48 << 20
    sent = Signal("all of it has left the origin")

    def rule(request: Any) -> Any:
        if request.target.startswith(f"/{size}/"):
            request.conn.head(200, {"Content-Length": str(size)})
            request.conn.send(sized(request))
            sent.set()
            return None
        return plain(request)

    with Origin(rule, patience=20) as origin, Proxy(off(origin)) as proxy:
        warm(proxy)
        chance = random.Random(7)
        with proxy.client(receive_buffer=64 * KiB, timeout=20) as client:
            right = body_of(f"/{size}/slow", size)
            client.request("GET", f"/{size}/slow")
            _, reader = client.read_head()
            at = 0
            while at < 4 << 20:
                data = reader.some(chance.choice([1000, 30_000, 65_536]))
                assert right.startswith(data, at)
                at += len(data)
                if chance.random() < 0.2:
                    time.sleep(0.001)
            assert not sent.is_set()
            while data := reader.some(1 << 18):
                assert right.startswith(data, at)
                at += len(data)
            assert at == size
            assert client.get("/100000/next").body == body_of("/100000/next", 100_000)
        stats = proxy.stats()
        assert stats["body_bytes"] == size + 200_000 + len(b"warm")


@pytest.mark.parametrize("how", ["end", "reset"])
@pytest.mark.parametrize("at", [10_000, 50_000, 99_999])
def test_an_origin_that_dies_in_the_middle_cuts_the_client(how: str, at: int) -> None:
    def rule(request: Any) -> Any:
        if not request.target.endswith("dies"):
            return plain(request)
        request.conn.head(200, {"Content-Length": "100000"})
        request.conn.send(sized(request)[:at])
        if how == "reset":
            time.sleep(0.05)  # what has been read before is not lost with it
            request.conn.reset()
        else:
            request.conn.close()
        return None

    with Origin(rule) as origin, Proxy(off(origin)) as proxy:
        warm(proxy)
        for _ in range(3):
            with proxy.client() as client:
                client.request("GET", "/100000/dies")
                answer = client.read_response(tolerate_abort=True)
                assert answer.aborted
                assert body_of("/100000/dies", 100_000).startswith(answer.body)
                assert len(answer.body) <= at
            assert proxy.get("/100000/next").body == body_of("/100000/next", 100_000)
        eventually(lambda: proxy._worker.fill_lane.active == 0, "the lane to be idle")
        assert proxy.stats()["origins"]["app"]["errors"] == 3


@pytest.mark.parametrize("total", [4095, 4096, 4097, 20_000])
@pytest.mark.parametrize("framing", ["", "Content-Length: 30000\r\n"])
def test_a_reset_that_is_there_with_the_last_bytes_is_no_plain_end(total: int, framing: str) -> None:
    """All of it has arrived before the proxy looks: what only an end delimits must not pass for whole.

    4096 bytes are what the first of its two calls takes: the second has nothing but the reset.
    """
    loop: Any = None
    head = OK + framing.encode() + b"\r\n"
    size = total - len(head)

    def rule(request: Any) -> Any:
        if not request.target.endswith("reset"):
            return plain(request)
        asleep = Signal("the proxy's sleep")
        loop.call_soon_threadsafe(lambda: (asleep.set(), time.sleep(0.2)))
        asleep.wait()
        request.conn.send(head + sized(request))
        request.conn.reset()
        return None

    with Origin(rule) as origin, Proxy(off(origin)) as proxy:
        loop = proxy._loop
        for n in range(3):
            warm(proxy)
            with proxy.client() as client:
                client.request("GET", f"/{size}/{n}reset")
                answer = client.read_response(tolerate_abort=True)
                assert answer.aborted or answer.status == 502


@pytest.mark.parametrize("pause", [0.0, 0.01])
def test_what_comes_behind_a_body_is_nobodys_response(pause: float) -> None:
    """A second response in the same segment, or right behind it, goes to nobody, and its connection is not kept."""
    evil = OK + b"Content-Length: 4\r\n\r\nevil"
    sent = [Signal(f"the origin has sent more, {n}") for n in range(8)]

    def rule(request: Any) -> Any:
        if not request.target.endswith("more"):
            return plain(request)
        data = OK + b"Content-Length: 100000\r\n\r\n" + sized(request)
        if pause:
            request.conn.send(data)
            time.sleep(pause)
            request.conn.send(evil)
        else:
            request.conn.send(data + evil)
        sent[int(request.target.split("/")[-1].removesuffix("more"))].set()
        return None

    with Origin(rule) as origin, Proxy(off(origin)) as proxy, proxy.client() as client:
        warm(proxy)
        for n in range(8):
            target = f"/100000/{n}more"
            assert client.get(target).body == body_of(target, 100_000)
            sent[n].wait()
            time.sleep(2 * pause)
            assert client.get(f"/100000/{n}").body == body_of(f"/100000/{n}", 100_000)
        on = {request.connection for request in origin.requests if request.target.endswith("more")}
        assert len(on) == 8


@pytest.mark.parametrize("resets", [True, False])
def test_a_client_that_leaves_takes_its_origin_connection_with_it(resets: bool) -> None:
    gone = Signal("the origin hears of it")

    def rule(request: Any) -> Any:
        if not request.target.endswith("left"):
            return plain(request)
        request.conn.head(200, {"Content-Length": str(64 << 20)})
        try:
            while True:
                request.conn.send(bytes(64 * KiB))
        except PeerGone:
            gone.set()
            raise

    with Origin(rule) as origin, Proxy(off(origin)) as proxy:
        warm(proxy)
        client = proxy.client()
        client.request("GET", f"/{64 << 20}/left")
        _, reader = client.read_head()
        reader.exactly(1 << 20)
        if resets:
            client.wire.reset()
        else:
            client.close()
        gone.wait()
        eventually(lambda: proxy._worker.fill_lane.active == 0, "the lane to be idle")
        assert proxy.get("/100000/next").body == body_of("/100000/next", 100_000)


def test_byte_by_byte() -> None:
    right = body_of("/20000/bytes", 20_000)

    def rule(request: Any) -> Any:
        if not request.target.endswith("bytes"):
            return plain(request)
        data = OK + b"Content-Length: 20000\r\n\r\n" + right
        for at in range(len(data)):
            request.conn.send(data[at : at + 1])
        return None

    with Origin(rule) as origin, Proxy(off(origin)) as proxy, proxy.client() as client:
        warm(proxy)
        assert client.get("/20000/bytes").body == right
        assert client.get("/100000/next").body == body_of("/100000/next", 100_000)


LONG = body_of("x", 50_000)
OTHERS = {
    "/head": OK + b"Content-Length: 50000\r\n\r\n",
    "/none": b"HTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n",
    "/304": b'HTTP/1.1 304 Not Modified\r\nETag: "x"\r\n\r\n',
    "/chunks": OK + b"Transfer-Encoding: chunked\r\n\r\nc350\r\n" + LONG + b"\r\n0\r\n\r\n",
    "/close": OK + b"\r\n" + LONG,
    "/old": b"HTTP/1.0 200 OK\r\nContent-Length: 50000\r\n\r\n" + LONG,
    "/hint": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK + b"Content-Length: 50000\r\n\r\n" + LONG,
    "/fields": OK + b"X-A: " + b"a" * 9000 + b"\r\nContent-Length: 50000\r\n\r\n" + LONG,
}


@pytest.mark.parametrize("target", OTHERS)
def test_other_framings_behind_long_bodies(target: str) -> None:
    """No body, chunks, HTTP/1.0, HEAD, a long head: nothing of the last response is left in them."""

    def rule(request: Any) -> Any:
        if request.target != target:
            return plain(request)
        request.conn.send(OTHERS[target])
        if target in ("/close", "/old"):
            request.conn.close()
        return None

    method = "HEAD" if target == "/head" else "GET"
    both(rule, [Ask("/100000/x"), Ask("/100000/y"), Ask(target, method=method)], off)


def test_a_client_of_http_1_0() -> None:
    with Origin(plain) as origin, Proxy(off(origin)) as proxy, proxy.client() as client:
        warm(proxy)
        client.request("GET", "/100000/old", version="HTTP/1.0")
        assert client.read_response().body == body_of("/100000/old", 100_000)
        assert client.wire.until_closed() == b""


@pytest.mark.parametrize("seed", range(6))
def test_random_sizes_cuts_and_pauses(seed: int) -> None:
    """Several clients at once, some slow, some with many requests in a row; every byte is compared."""
    chance = random.Random(seed)

    def rule(request: Any) -> Any:
        if request.target == WARM or request.target.startswith("/100000/"):
            return plain(request)
        mine = random.Random(request.target)
        body = sized(request)
        data = OK + f"X-A: b\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        cuts = sorted(mine.randrange(len(data)) for _ in range(mine.choice([0, 0, 1, 3, 10])))
        for first, last in zip([0, *cuts], [*cuts, len(data)], strict=True):
            request.conn.send(data[first:last])
            if mine.random() < 0.3:
                time.sleep(mine.choice([0.0, 0.001, 0.005]))
        return None

    with Origin(rule) as origin, Proxy(off(origin)) as proxy:
        warm(proxy)
        clients = [
            proxy.client(receive_buffer=chance.choice([None, 4096, 64 * KiB]), timeout=10) for _ in range(4)
        ]
        for turn in range(8):
            targets = [f"/{chance.choice([0, 500, 20_000, 70_000, 400_000])}/{turn}.{n}" for n in range(4)]
            for client, target in zip(clients, targets, strict=True):
                client.request("GET", target)
            for client, target in zip(clients, targets, strict=True):
                _, reader = client.read_head()
                right, at = body_of(target, int(target.split("/")[1])), 0
                while data := reader.some(chance.choice([700, 20_000, 65_536])):
                    assert right.startswith(data, at)
                    at += len(data)
                    if chance.random() < 0.05:
                        time.sleep(0.002)
                assert at == len(right)
        for client in clients:
            client.close()
        eventually(lambda: proxy._worker.fill_lane.active == 0, "the lane to be idle")
