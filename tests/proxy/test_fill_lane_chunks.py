"""Chunked bodies that are stored: without the coding, with a length that is known at the end, and never a cut one."""

from __future__ import annotations

import hashlib
import itertools
import random
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdn.tier._wire import whole_body
from tests.core.oracle_fields import BadChunkError, dechunk
from tests.core.test_chunked import BAD, GOOD
from tests.harness import Origin, Signal, eventually, reply, request_bytes, site
from tests.harness.proxy import Proxy
from tests.proxy.held import Held, leading, outlived
from tests.proxy.lanes import WARM, Ask
from tests.proxy.test_fill_lane_wire import Said, Several, outcome

GET = request_bytes("GET", "/a")
HEAD = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n"
LAST = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def digits(n: int) -> bytes:
    """So many bytes that tell where they are."""
    return b"".join(hashlib.sha256(b"%d" % at).digest() for at in range(n // 32 + 1))[:n]


# --- the scan of what came in one segment ---


def twin(data: bytes, most: int) -> bytes | None:
    try:
        found = dechunk(data)
    except BadChunkError:
        return None
    return found[0] if found is not None and len(found[0]) <= most else None


@pytest.mark.parametrize("name", [*GOOD, *BAD])
def test_a_whole_body_in_one_segment_as_its_twin(name: str) -> None:
    data = GOOD[name][0] if name in GOOD else BAD[name]
    for behind in (b"", b"HTTP/1.1 200 OK\r\n\r\n", data):
        for most in (0, 1, 5, 1 << 17):
            assert whole_body(data + behind, most) == twin(data + behind, most)
    for at in range(0, len(data), max(1, len(data) // 300)):
        assert whole_body(data[:at], 1 << 17) is None


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.binary(min_size=1, max_size=40), max_size=6),
    st.sampled_from([LAST, b"0;x\r\n\r\n", b"0\r\nA: b\r\n\r\n", b"0\r\n", b"0\r\n\n", b""]),
    st.binary(max_size=8),
    st.integers(0, 120),
)
def test_any_body_in_one_segment_as_its_twin(
    parts: list[bytes], end: bytes, behind: bytes, most: int
) -> None:
    data = b"".join(map(chunk, parts)) + end + behind
    assert whole_body(data, most) == twin(data, most)


# --- through the lane ---


@pytest.mark.parametrize("how", ["whole", "in bytes", "with a second response behind"])
@pytest.mark.parametrize("name", [name for name in GOOD if len(GOOD[name][0]) < 1000])
def test_well_formed(name: str, how: str) -> None:
    framed, body = GOOD[name]
    data = HEAD + framed
    cuts = list(range(len(HEAD), len(data))) if how == "in bytes" else []
    if how == "with a second response behind":
        data += HEAD + chunk(b"evil") + LAST
    general, lane = (outcome(lane, True, Said(data, False, cuts)) for lane in (False, True))
    assert lane[:-1] == general[:-1]
    assert (lane[-1], general[-1]) == (1, 0)  # the second is a hit
    first, second = lane[0]
    assert (first[2], first[3]) == (body, "chunked")
    assert (second[2], second[3]) == (body, "length")


@pytest.mark.parametrize("name", [name for name in BAD if len(BAD[name]) < 1000])
def test_malformed_is_never_stored(name: str) -> None:
    data = HEAD + chunk(b"begun") + BAD[name]
    for cuts in ([], [len(HEAD), len(HEAD) + 10, len(data) - 1]):
        general, lane = (outcome(lane, True, Said(data, True, cuts, 0.002)) for lane in (False, True))
        assert lane[2] == general[2] == {}
        for seen in (general, lane):  # the client sees that it is not whole
            assert seen[0][0][4] or seen[0][0][0] == 502
        assert lane[0][1] == general[0][1]
        assert lane[0][1][2] == b"again /a"
        assert lane[3] == general[3]
        assert lane[5] == general[5] == {}


FRAMED = b"".join(map(chunk, (b"a", b"bcdef", b"g" * 300))) + b"0\r\nA: b\r\n\r\n"


@pytest.mark.parametrize("at", range(0, len(FRAMED), 11))
def test_a_cut_body_is_never_stored(at: int) -> None:
    seen = outcome(True, True, Said(HEAD + FRAMED[:at], True, [len(HEAD) + at // 2], 0.002))
    assert seen[2] == {}
    assert seen[0][0][4]
    assert seen[0][1][2] == b"again /a"


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    parts = draw(st.lists(st.binary(min_size=1, max_size=200), max_size=5))
    ends = ["", ";x=y", ' ;x="y z"']
    framed = b"".join(
        b"%x%b\r\n%b\r\n" % (len(part), draw(st.sampled_from(ends)).encode(), part) for part in parts
    )
    end = draw(st.sampled_from([LAST, LAST, b"000;a\r\n\r\n", b'0\r\nETag: "x"\r\n\r\n', b"0\r\n"]))
    return HEAD + framed + end


class Cut(Several):
    """Where the last one is not whole, its connection ends."""

    def __call__(self, request: Any) -> Any:
        super().__call__(request)
        number = int(request.target[1:])
        if self.data[number % len(self.data)].endswith(b"\r\n0\r\n"):
            request.conn.close()


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
@given(st.lists(bodies(), min_size=1, max_size=4), st.integers(0, 99))
def test_random_bodies(data: list[bytes], seed: int) -> None:
    asks = [Ask(f"/{n}") for n in range(len(data))] * 2
    both_tolerant(Cut(data, seed), asks)


def both_tolerant(rule: Any, asks: list[Ask]) -> None:
    """`lanes.both`, where answers may break off."""
    runs = []
    for lane in (False, True):

        def with_warm(request: Any) -> Any:
            return reply(200, {"Cache-Control": "no-store"}) if request.target == WARM else rule(request)

        with Origin(with_warm) as origin, Proxy(site(origin)) as proxy:
            proxy._worker.fill_lane.enabled = lane
            seen = []
            for ask in asks:
                proxy.ask("POST", WARM)
                with proxy.client() as client:
                    client.send(request_bytes("GET", ask.target))
                    got = client.read_response(tolerate_abort=True)
                    seen.append((got.status, got.aborted, b"" if got.aborted else got.body, got.framing))
            memory = proxy._worker.memory
            stored = {key: memory.lookup(key).read() for key in memory.keys()}  # noqa: SIM118 - a store
            runs.append((seen, stored, len(origin.requests)))
    assert runs[0] == runs[1]


# --- who else reads, and how slowly ---


def in_pieces(body: bytes, size: int) -> bytes:
    pieces = (body[at : at + size] for at in range(0, len(body), size))
    return b"".join(map(chunk, pieces))


@pytest.mark.parametrize("first", [0, 1, 20_000, 40_000])
def test_followers_stream_meanwhile(first: int) -> None:
    body = digits(51_200)
    framed = in_pieces(body, 1000)
    held = Held(HEAD, framed + LAST, first)
    with leading(held) as (origin, proxy, leader):
        held.before.set()
        others = [proxy.client() for _ in range(3)]
        for other in others:
            other.send(GET)
        eventually(lambda: proxy.stats()["exchanges"] == 4, "all to wait")
        if first > 1:  # what has come is with all of them before the rest is sent
            for client in (leader, *others):
                client.wire.sock.settimeout(20)
                got = b""
                while len(got) < first // 2:
                    got += client.wire.sock.recv(65536)
                client.wire.buffer[:0] = got
        held.go()
        for client in (leader, *others):
            answer = client.read_response()
            assert (answer.body, answer.framing) == (body, "chunked")
        assert origin.count("/a") == 1
        with proxy.lanes(hit=1):
            again = leader.get("/a")
        assert (again.body, again.framing) == (body, "length")
        with proxy.lanes(hit=1):
            assert int(leader.ask("HEAD", "/a")["content-length"] or 0) == len(body)
        with proxy.lanes(hit=1):
            part = leader.ask("GET", "/a", {"Range": "bytes=50000-"})
            assert (part.status, part.body) == (206, body[50_000:])


@pytest.mark.parametrize("first", [0, 20_000])
def test_it_outlives_its_client(first: int) -> None:
    body = digits(51_200)
    held = Held(HEAD, in_pieces(body, 700) + LAST, first)
    with leading(held) as (origin, proxy, leader):
        held.before.set()
        outlived(held, origin, proxy, leader, body)


def test_a_purge_in_the_middle() -> None:
    body = digits(51_200)
    held = Held(HEAD, in_pieces(body, 700) + LAST, 20_000)
    with leading(held) as (origin, proxy, leader):
        held.before.set()
        eventually(lambda: proxy._worker.memory.audit()["filling_runs"] == 1, "the fill to begin")
        proxy._worker.memory.purge_all()
        held.between.set()
        assert leader.read_response().body == body
        assert proxy._worker.memory.stats()["objects"] == 0
        assert leader.get("/a").body == body
        assert origin.count("/a") == 2


def test_an_origin_that_falls_silent() -> None:
    silent = Signal("the origin to go on")

    def rule(request: Any) -> Any:
        if request.target == WARM:
            return reply(200, {"Cache-Control": "no-store"})
        request.conn.send(HEAD + chunk(b"begun"))
        silent.wait()
        request.conn.close()
        return None

    with Origin(rule) as origin:
        tree = site(origin, origin_timeouts={"between_bytes": "300ms"})
        with Proxy(tree) as proxy, proxy.client() as leader, proxy.client() as other:
            proxy.ask("POST", WARM)
            leader.send(GET)
            origin.wait_for(1, "/a")
            other.send(GET)
            assert leader.read_response(tolerate_abort=True).aborted
            assert other.read_response(tolerate_abort=True).aborted
            silent.set()
            assert proxy._worker.memory.stats()["objects"] == 0
            assert proxy._worker.site.flights == {}
            assert proxy._worker.fill_lane.active == 0


def test_hints_before_it() -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </s.css>\r\n\r\n"
    held = Held(hints * 2 + HEAD, in_pieces(b"hello", 2) + LAST)
    with leading(held) as (_, proxy, leader):
        held.go()
        answer = leader.read_response()
        assert [interim.status for interim in answer.interim] == [103, 103]
        assert answer.body == b"hello"
        with proxy.lanes(hit=1):
            assert leader.get("/a").body == b"hello"


# --- longer than what the lane stores ---

LONG = digits(3 << 20)


def stored_after(proxy: Proxy, body: bytes) -> None:
    eventually(lambda: proxy._worker.memory.stats()["objects"] == 1, "the response to be stored")
    with proxy.lanes(hit=1):
        assert proxy.get("/a").body == body


@pytest.mark.parametrize("others", [0, 2])
@pytest.mark.parametrize("piece", [999, 70_000, 3 << 20])
def test_a_long_one_is_stored_by_its_flight(piece: int, others: int) -> None:
    framed = in_pieces(LONG, piece)
    held = Held(HEAD, framed + LAST, len(framed) // 2)
    with leading(held) as (origin, proxy, leader):
        held.before.set()
        waiting = [proxy.client() for _ in range(others)]
        for other in waiting:
            other.send(GET)
        eventually(lambda: proxy.stats()["exchanges"] >= 1 + others, "the exchange to go on")
        held.go()
        for client in (leader, *waiting):
            answer = client.read_response()
            assert (answer.body == LONG, answer.framing, answer.aborted) == (True, "chunked", False)
        stored_after(proxy, LONG)
        assert origin.count("/a") == 1
        assert proxy._worker.fill_lane.handed_over == 1
        logged = [
            line for line in proxy.log(3 + others) if line["target"] == "/a" and line["outcome"] != "hit"
        ]
        assert sorted(line["outcome"] for line in logged) == ["collapsed"] * others + ["miss"]
        assert {(line["status"], line["bytes"]) for line in logged} == {(200, len(LONG))}


def test_a_long_one_outlives_its_client() -> None:
    framed = in_pieces(LONG, 5000)
    held = Held(HEAD, framed + LAST, 4000)
    with leading(held) as (origin, proxy, leader):
        held.before.set()
        leader.reset()
        eventually(lambda: proxy.stats()["connections"]["open"] == 0, "the client to be gone")
        held.go()
        stored_after(proxy, LONG)
        assert origin.count("/a") == 1


def test_a_slow_client_of_a_long_one_gets_it_all() -> None:
    held = Held(HEAD, in_pieces(LONG, 40_000) + LAST)
    with Origin(held) as origin, Proxy(site(origin)) as proxy:
        proxy.ask("POST", WARM)
        with proxy.client(receive_buffer=8192) as client:
            client.send(GET)
            held.go()
            eventually(lambda: proxy._worker.memory.stats()["objects"] == 1, "the response to be stored")
            assert client.read_response().body == LONG
            with proxy.lanes(hit=1):
                assert client.get("/a").body == LONG


@pytest.mark.parametrize("limit", ["1 KiB", "200 KiB", "2 MiB"])
def test_one_over_the_limit_is_not_stored(limit: str) -> None:
    held = Held(HEAD, in_pieces(LONG, 40_000) + LAST)
    held.go()
    with Origin(held) as origin, Proxy(site(origin, limits={"object": limit})) as proxy:
        proxy.ask("POST", WARM)
        with proxy.client() as client:
            for asked in (1, 2):
                answer = client.get("/a")
                assert (answer.body == LONG, answer.aborted) == (True, False)
                assert origin.count("/a") == asked
        assert proxy._worker.memory.stats()["objects"] == 0
        eventually(lambda: proxy._worker.site.flights == {}, "the flight to land")


def test_a_client_that_does_not_read_holds_back_the_origin_of_one_over_the_limit() -> None:
    piece, count, sent = digits(64 << 10), 400, [0]

    def rule(request: Any) -> Any:
        if request.target == WARM:
            return reply(200, {"Cache-Control": "no-store"})
        request.conn.send(HEAD)
        for _ in range(count):
            request.conn.chunk(piece)
            sent[0] += 1
        request.conn.end_chunks()
        return None

    with Origin(rule) as origin, Proxy(site(origin, limits={"object": "300 KiB"})) as proxy:
        proxy.ask("POST", WARM)
        with proxy.client(receive_buffer=8192) as client:
            client.send(GET)
            still = -1
            while still != sent[0]:  # until nothing moves any more
                still = sent[0]
                time.sleep(0.3)
            assert still < count
            assert client.read_response().body == piece * count
        assert proxy._worker.memory.stats()["objects"] == 0


def test_no_space_for_a_long_one() -> None:
    """The store is full of what is being read: the client gets all of it, and nothing is stored."""
    body = digits(900_000)
    held = Held(HEAD, in_pieces(body, 10_000) + LAST)
    held.go()

    def rule(request: Any) -> Any:
        if request.target == WARM:
            return held(request)
        request.conn.send(HEAD + in_pieces(body, 10_000) + LAST)
        return None

    with (
        Origin(rule) as origin,
        Proxy(site(origin, store={"memory": "1 MiB"})) as proxy,
        proxy.client() as client,
    ):
        proxy.ask("POST", WARM)
        for n in range(4):
            assert client.get(f"/{n}").body == body
        proxy._worker.memory.audit()
        assert proxy.stats()["lanes"]["fill"] + proxy._worker.fill_lane.handed_over >= 4


@pytest.mark.parametrize("when", ["early", "late"])
def test_a_long_one_that_breaks_off(when: str) -> None:
    framed = in_pieces(LONG, 40_000)
    upto = 20_000 if when == "early" else len(framed) - 7

    def rule(request: Any) -> Any:
        if request.target == WARM:
            return reply(200, {"Cache-Control": "no-store"})
        request.conn.send(HEAD + framed[:upto])
        request.conn.close()
        return None

    with Origin(rule) as origin, Proxy(site(origin)) as proxy, proxy.client() as client:
        proxy.ask("POST", WARM)
        client.send(GET)
        answer = client.read_response(tolerate_abort=True)
        assert answer.aborted
        assert LONG.startswith(answer.body)
        assert proxy._worker.memory.stats()["objects"] == 0
        eventually(lambda: proxy._worker.site.flights == {}, "the flight to land")
        errors = [counted["errors"] for counted in proxy.stats()["origins"].values()]
        assert errors == [1]
        counted = proxy._worker.memory.audit()
        assert counted["filling_runs"] == counted["filling_blocks"] == 0


def test_many_at_once() -> None:
    """Bodies of all lengths, framed and cut in all ways, from several connections at the same time."""
    chance = random.Random(7)
    sizes = [0, 1, 1000, 4000, 16_000, 17_000, 100_000, 1 << 20, (1 << 20) + 1, 1_300_000]

    def rule(request: Any) -> Any:
        if request.target == WARM:
            return reply(200, {"Cache-Control": "no-store"})
        n = int(request.target[1:])
        data = HEAD + in_pieces(digits(sizes[n]), chance.choice([100, 1000, 65_536, 1 << 21])) + LAST
        cuts = sorted(chance.sample(range(len(data)), 3))
        for first, last in itertools.pairwise([0, *cuts, len(data)]):
            request.conn.send(data[first:last])
        return None

    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        proxy.ask("POST", WARM)
        clients = [proxy.client() for _ in range(3 * len(sizes))]
        for n, client in enumerate(clients):
            client.send(request_bytes("GET", f"/{n % len(sizes)}"))
        for n, client in enumerate(clients):
            assert client.read_response().body == digits(sizes[n % len(sizes)])
        for n in range(len(sizes)):
            assert origin.count(f"/{n}") == 1
            with proxy.lanes(hit=1):
                assert proxy.get(f"/{n}").body == digits(sizes[n])
