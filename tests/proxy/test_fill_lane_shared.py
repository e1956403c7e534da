"""Others and the fill lane: who waits for the same, who leaves, who reads slowly."""

from __future__ import annotations

import hashlib
import socket
import time
from typing import Any

import pytest

from tests.harness import Origin, eventually, fresh, reply, request_bytes, site
from tests.harness.proxy import Proxy
from tests.proxy.held import Held, leading, outlived
from tests.proxy.lanes import WARM

GET = request_bytes("GET", "/a")


def storable(length: int) -> bytes:
    return b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: %d\r\n\r\n" % length


@pytest.mark.parametrize("when", ["before the head", "in the body"])
def test_one_request_for_all(when: str) -> None:
    body = bytes(range(256)) * 200
    held = Held(storable(len(body)), body, 30_000)
    with leading(held) as (origin, proxy, leader):
        if when == "in the body":
            held.before.set()
            leader.wire.sock.recv(1, socket.MSG_PEEK)
        others = [proxy.client() for _ in range(5)]
        for other in others:
            other.send(GET)
        eventually(lambda: proxy.stats()["exchanges"] == 6, "all to wait")
        held.go()
        assert leader.read_response().body == body
        for other in others:
            answer = other.read_response()
            assert answer.body == body
            assert "collapsed" in (answer["cache-status"] or "")
        assert origin.count("/a") == 1
        with proxy.lanes(hit=1):
            assert leader.get("/a").body == body
        outcomes = proxy.stats()["outcomes"]
        assert (outcomes["miss"], outcomes["collapsed"], outcomes["hit"]) == (1, 5, 1)


def at_once(body: bytes) -> Held:
    """All of the answer in one segment."""
    return Held(storable(len(body)) + body, b"")


@pytest.mark.parametrize("others", [0, 1])
def test_a_small_answer_in_one_segment(others: int) -> None:
    held = at_once(b"small")
    with leading(held) as (origin, proxy, leader):
        waiting = [proxy.client() for _ in range(others)]
        for other in waiting:
            other.send(GET)
        eventually(lambda: proxy.stats()["exchanges"] == 1 + others, "all to wait")
        held.go()
        for client in (leader, *waiting):
            assert client.read_response().body == b"small"
        with proxy.lanes(hit=1):
            assert leader.get("/a").body == b"small"
        assert origin.count("/a") == 1


def test_a_small_answer_outlives_its_client() -> None:
    held = at_once(b"small")
    with leading(held) as (origin, proxy, leader):
        leader.reset()
        eventually(lambda: proxy.stats()["connections"]["open"] == 0, "the client to be gone")
        held.go()
        eventually(lambda: proxy._worker.memory.stats()["objects"] == 1, "the response to be stored")
        with proxy.lanes(hit=1):
            assert proxy.get("/a").body == b"small"
        assert origin.count("/a") == 1


def test_a_small_answer_that_was_purged_on_its_way() -> None:
    held = at_once(b"small")
    with leading(held) as (origin, proxy, leader):
        proxy._worker.memory.purge_all()
        held.go()
        assert leader.read_response().body == b"small"
        assert proxy._worker.memory.stats()["objects"] == 0
        assert leader.get("/a").body == b"small"
        assert origin.count("/a") == 2


def test_those_who_wait_for_what_is_not_stored_go_on_alone() -> None:
    held = Held(b"HTTP/1.1 200 OK\r\nCache-Control: private\r\nContent-Length: 2\r\n\r\n", b"me")
    with leading(held) as (origin, proxy, leader):
        other = proxy.client()
        other.send(GET)
        eventually(lambda: proxy.stats()["exchanges"] == 2, "both to wait")
        held.go()
        assert leader.read_response().body == other.read_response().body == b"me"
        assert origin.count("/a") == 2


def test_those_who_wait_hear_of_a_failure() -> None:
    held = Held(b"HTTP/1.1 200 O\x00K\r\n\r\n", b"")
    with leading(held) as (_, proxy, leader):
        other = proxy.client()
        other.send(GET)
        eventually(lambda: proxy.stats()["exchanges"] == 2, "both to wait")
        held.go()
        assert leader.read_response().status == other.read_response().status == 502


def test_hints_reach_those_who_wait() -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </s.css>\r\n\r\n"
    held = Held(hints + storable(2), b"ok")
    with leading(held) as (_, proxy, leader):
        other = proxy.client()
        other.send(GET)
        eventually(lambda: proxy.stats()["exchanges"] == 2, "both to wait")
        held.go()
        for client in (leader, other):
            answer = client.read_response()
            assert [interim.status for interim in answer.interim] == [103]
            assert answer.body == b"ok"


@pytest.mark.parametrize("first", [0, 30_000])
def test_a_miss_outlives_its_client(first: int) -> None:
    body = bytes(range(256)) * 200
    held = Held(storable(len(body)), body, first)
    with leading(held) as (origin, proxy, leader):
        if first:
            held.before.set()
            leader.wire.sock.recv(1, socket.MSG_PEEK)
        outlived(held, origin, proxy, leader, body)


def test_a_pass_ends_with_its_client() -> None:
    body = bytes(256) * 200
    held = Held(storable(len(body)), body, 100)
    with leading(held, route={"cache": False}) as (origin, proxy, leader):
        leader.reset()
        eventually(lambda: proxy.stats()["connections"]["open"] == 0, "the client to be gone")
        eventually(lambda: proxy._worker.fill_lane.active == 0, "the passage to be gone")
        held.go()
        assert proxy.get("/other").status == 200
        assert origin.connections == 2  # the one with the unread answer is not used again


@pytest.mark.parametrize("broken", [b"x" * 100, b""])
def test_a_broken_fill_is_not_stored(broken: bytes) -> None:
    held = Held(storable(50_000), broken, len(broken))

    def rule(request: Any) -> Any:
        held(request)
        if request.target == "/a":
            request.conn.reset()
            return None
        return reply(200, {"Cache-Control": "no-store"}, b"warm")

    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        origin.rule = lambda request: rule(request) if request.target == "/a" else held(request)
        proxy.ask("POST", WARM)
        leader, other = proxy.client(), proxy.client()
        leader.send(GET)
        origin.wait_for(1, "/a")
        held.before.set()
        other.send(GET)
        held.between.set()
        answers = [client.read_response(tolerate_abort=True) for client in (leader, other)]
        assert all(answer.aborted or answer.status == 502 for answer in answers)
        assert proxy._worker.memory.stats()["objects"] == 0
        assert proxy._worker.site.flights == {}


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_slow_client_of_a_pass_holds_back_the_origin(framing: str) -> None:
    piece = hashlib.sha256(b"piece").digest() * 2048
    count, sent = 400, [0]

    def rule(request: Any) -> Any:
        if request.target != "/a":
            return reply(200, {}, b"warm")
        frame = (
            "Transfer-Encoding: chunked" if framing == "chunked" else f"Content-Length: {count * len(piece)}"
        )
        request.conn.send(f"HTTP/1.1 200 OK\r\n{frame}\r\n\r\n".encode())
        for _ in range(count):
            request.conn.chunk(piece) if framing == "chunked" else request.conn.send(piece)
            sent[0] += 1
        if framing == "chunked":
            request.conn.end_chunks()
        return None

    with Origin(rule) as origin, Proxy(site(origin, route={"cache": False})) as proxy:
        proxy.ask("POST", WARM)
        with proxy.client(receive_buffer=8192) as client:
            client.send(GET)
            still = -1
            while still != sent[0]:  # until nothing moves any more
                still = sent[0]
                time.sleep(0.3)
            assert still < count
            with proxy.lanes(fill=1):
                assert client.read_response().body == piece * count
            assert client.get("/b").body == b"warm"


def test_a_slow_client_of_a_miss_gets_it_all() -> None:
    body = b"".join(hashlib.sha256(bytes([n % 256])).digest() for n in range(30_000))
    with Origin(fresh(60, body)) as origin, Proxy(site(origin)) as proxy:
        proxy.ask("POST", WARM)
        with proxy.client(receive_buffer=8192) as client:
            client.send(GET)
            eventually(lambda: proxy._worker.memory.stats()["objects"] == 1, "the response to be stored")
            assert client.read_response().body == body
            with proxy.lanes(hit=1):
                assert client.get("/a").body == body
        assert proxy.stats()["lanes"]["fill"] == 1


def test_no_space_for_it() -> None:
    """The store is full of what is being read: the client gets all of it, and nothing is stored."""
    body = b"0123456789abcdef" * 60_000

    def rule(request: Any) -> Any:
        return fresh(60, body)

    with (
        Origin(rule) as origin,
        Proxy(site(origin, store={"memory": "1 MiB"})) as proxy,
        proxy.client() as client,
    ):
        proxy.ask("POST", WARM)
        for n in range(4):
            assert client.get(f"/{n}").body == body
        proxy._worker.memory.audit()
