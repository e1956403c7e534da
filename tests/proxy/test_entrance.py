"""Connections that come and go: read when they are accepted, answered and closed in one step, and counted like any."""

from __future__ import annotations

import contextlib
import json
import resource
import signal
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cdn.proxy._front import Lookout
from tests.harness import Origin, eventually, fresh, request_bytes, site
from tests.harness.client import RawClient
from tests.harness.process import Serve
from tests.harness.proxy import Proxy
from tests.harness.tls import certificate

BODY = b"b" * 1024
LAST = request_bytes("GET", "/a", {"Connection": "close"})


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    """It has /a."""
    with Origin(fresh(600, BODY)) as origin, Proxy(site(origin)) as running:
        assert running.get("/a").body == BODY
        yield running
        assert origin.count() == 1
        eventually(lambda: running.stats()["connections"]["open"] == 0, "every connection to have left")


def everything(client: RawClient) -> bytes:
    """What comes until the end; a reset is an error."""
    sock, data = client.wire.sock, b""
    while piece := sock.recv(65536):
        data += piece
    return data


@pytest.mark.parametrize("how", ["whole", "bytewise", "in two", "late"])
def test_a_last_request_is_answered_and_the_connection_ends(proxy: Proxy, how: str) -> None:
    before = proxy.stats()
    for _ in range(10):
        with proxy.client() as client:
            if how == "whole":
                client.send(LAST)
            elif how == "bytewise":
                client.send_bytewise(LAST)
            elif how == "in two":
                client.send(LAST[:20])
                time.sleep(0.01)
                client.send(LAST[20:])
            else:
                time.sleep(0.02)
                client.send(LAST)
            answer = client.read_response()
            assert (answer.status, answer.body, answer["connection"]) == (200, BODY, "close")
            client.expect_closed()
    after = proxy.stats()
    assert after["hit_lane"]["hits"] == before["hit_lane"]["hits"] + 10
    assert after["connections"]["accepted"] == before["connections"]["accepted"] + 10
    assert after["connections"]["refused"] == 0
    assert after["bytes"]["out"] > before["bytes"]["out"] + 10 * len(BODY)


def test_it_is_logged_with_the_clients_address(proxy: Proxy) -> None:
    with RawClient(proxy.port, source="127.0.0.9") as client:
        client.send(LAST)
        assert client.read_response().status == 200
    eventually(lambda: "127.0.0.9" in proxy.log_path.read_text(), "the line")
    (line,) = [json.loads(text) for text in proxy.log_path.read_text().splitlines() if "127.0.0.9" in text]
    assert (line["client"], line["target"], line["status"]) == ("127.0.0.9", "/a", 200)


def test_requests_in_front_of_the_last_and_whatever_is_behind_it(proxy: Proxy) -> None:
    """What is behind the last request is no request, and does not cost the answers in front of it."""
    with proxy.client() as client:
        client.send(request_bytes("GET", "/a") * 3 + LAST + request_bytes("GET", "/never") * 500)
        data = everything(client)
    assert data.count(b"HTTP/1.1 200 OK\r\n") == 4
    assert data.endswith(BODY)


def test_an_answer_is_not_reset_because_the_client_goes_on_sending(proxy: Proxy) -> None:
    for _ in range(20):
        with proxy.client() as client:
            client.send(LAST + b"x")
            for _ in range(20):
                client.send(b"y" * 5000)
            data = everything(client)
            assert data.startswith(b"HTTP/1.1 200 OK\r\n")
            assert data.endswith(BODY)


def test_one_that_has_shut_its_side_is_answered(proxy: Proxy) -> None:
    for request in (LAST, request_bytes("GET", "/a")):
        with proxy.client() as client:
            client.send(request)
            client.half_close()
            data = everything(client)
            assert data.startswith(b"HTTP/1.1 200 OK\r\n")
            assert data.endswith(BODY)


def test_who_leaves_before_a_byte_or_by_a_reset_is_forgotten(proxy: Proxy) -> None:
    for request in (b"", LAST, LAST[:10], request_bytes("GET", "/a")):
        for hard in (False, True):
            client = RawClient(proxy.port)
            if request:
                client.send(request)
            if hard:
                client.wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
    eventually(lambda: proxy.stats()["connections"]["open"] == 0, "nobody")
    assert proxy.get("/a").body == BODY


@pytest.mark.parametrize("request_at_once", [True, False])
def test_the_limit_of_an_address_holds_at_the_entrance(request_at_once: bool) -> None:
    limits = {"connections_per_address": 3}
    with Origin(fresh(600, BODY)) as origin, Proxy(site(origin, limits=limits)) as proxy:
        assert proxy.get("/a").body == BODY
        eventually(lambda: proxy.stats()["connections"]["open"] == 0, "the first to have left")
        held = [proxy.client() for _ in range(3)]
        eventually(lambda: proxy.stats()["connections"]["open"] == 3, "three")
        for _ in range(5):
            with proxy.client() as client:
                with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                    if request_at_once:
                        client.send(LAST)
                    assert client.wire.sock.recv(1) == b""
        assert proxy.stats()["connections"]["refused"] == 5
        held.pop().close()
        eventually(lambda: proxy.stats()["connections"]["open"] == 2, "a place")
        for _ in range(50):  # each has left the count before its client sees the end
            with proxy.client() as client:
                client.send(LAST)
                assert client.read_response().body == BODY
                client.expect_closed()
        assert proxy.stats()["connections"]["refused"] == 5


def test_without_descriptors_connections_wait_and_the_worker_does_not_run_hot() -> None:
    with Origin(fresh(600, BODY)) as origin, Serve(site(origin) | {"workers": 1}) as node:
        assert node.get("/a").body == BODY
        worker = max(node.others, key=lambda pid: len(list(Path(f"/proc/{pid}/fd").iterdir())))
        before = resource.prlimit(worker, resource.RLIMIT_NOFILE)
        used = max(int(entry.name) for entry in Path(f"/proc/{worker}/fd").iterdir()) + 1
        resource.prlimit(worker, resource.RLIMIT_NOFILE, (used, before[1]))
        begin, spent = time.monotonic(), cpu(worker)
        clients = [RawClient(node.port) for _ in range(40)]
        for client in clients:
            client.send(request_bytes("GET", "/a"))
        time.sleep(1)
        assert any(client.wire.silent(0) for client in clients)
        assert cpu(worker) - spent < 0.5 * (time.monotonic() - begin)
        resource.prlimit(worker, resource.RLIMIT_NOFILE, before)
        for client in clients:
            assert client.read_response().body == BODY
            client.close()


def cpu(pid: int) -> float:
    """Seconds of processor time."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def test_a_silent_connection_is_counted_and_ends_in_time() -> None:
    """The kernel tells of it a second late; then it is one like any other."""
    with Origin(fresh(600, BODY)) as origin, Proxy(site(origin, timeouts={"idle": "1s"})) as proxy:
        with proxy.client() as client:
            eventually(lambda: proxy.stats()["connections"]["open"] == 1, "it to be counted")
            client.expect_closed()
        assert proxy.stats()["connections"]["timeouts"] == 1


@pytest.mark.parametrize("silent", [0, 1])
def test_who_has_connected_before_the_end_is_answered_though_it_has_said_nothing_yet(silent: int) -> None:
    with Origin(fresh(600, BODY)) as origin, Serve(site(origin)) as node:
        assert node.get("/a").body == BODY
        clients = [RawClient(node.port) for _ in range(20)]
        node.signal(signal.SIGTERM)
        eventually(lambda: "draining" in node.stderr, "the drain")
        time.sleep(0.1)
        for client in clients[silent:]:
            client.send(request_bytes("GET", "/a"))
        for client in clients[silent:]:
            assert client.read_response().body == BODY
            client.expect_closed()
        for client in clients[:silent]:  # and who never does is not waited for
            client.expect_closed()
        for client in clients:
            client.close()
        assert node.wait(10) == 0


def test_a_node_without_clients_ends_at_once() -> None:
    with Origin(fresh(600, BODY)) as origin, Serve(site(origin)) as node:
        assert node.get("/a").body == BODY
        begin = time.monotonic()
        node.signal(signal.SIGTERM)
        assert node.wait(10) == 0
        assert time.monotonic() - begin < 5


# Before a worker sleeps


def lookout(proxy: Proxy) -> Lookout:
    found = proxy._worker.lookout
    assert isinstance(found, Lookout)
    return found


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_a_worker_looks_for_more_while_pauses_are_short_and_only_then(tls: bool) -> None:
    with Origin(fresh(600, BODY)) as origin:
        chain, key = certificate("site.test")
        over_tls = {"url": "https://127.0.0.1:0", "certificate": str(chain), "key": str(key)}
        listen = {"listen": [over_tls]} if tls else {}
        with Proxy(site(origin, busy_poll="1ms", **listen)) as proxy, proxy.client(tls=tls) as client:
            seen = lookout(proxy)
            assert (seen.most, seen.looks, seen.looking) == (1_000_000, 0, False)
            for _ in range(30):
                assert client.get("/a").body == BODY
                time.sleep(0.02)  # pauses of 20 ms
            assert seen.looks == 0
            end = time.monotonic() + 20
            while not seen.looks and time.monotonic() < end:
                assert client.get("/a").body == BODY
            assert seen.looks, seen.mean
            for _ in range(60):
                assert client.get("/a").body == BODY
                time.sleep(0.02)
            assert seen.mean > seen.most
            looks, vain = seen.looks, seen.vain
            time.sleep(0.2)
            assert (seen.looks, seen.vain, seen.looking) == (looks, vain, False)
            for _ in range(10):
                assert client.get("/a").body == BODY
                time.sleep(0.02)
            assert seen.looks == looks


def test_by_default_no_worker_looks(proxy: Proxy) -> None:
    with proxy.client() as client:
        for _ in range(500):
            assert client.get("/a").body == BODY
    assert (lookout(proxy).most, lookout(proxy).looks) == (0, 0)


def test_a_worker_that_has_looked_sleeps_in_the_end() -> None:
    with Origin(fresh(600, BODY)) as origin:
        tree = site(origin, origin_timeouts={"idle": "100ms"}, busy_poll="1ms") | {"workers": 1}
        with Serve(tree) as node:
            with RawClient(node.port) as client:
                for _ in range(2000):
                    assert client.get("/a").body == BODY
            time.sleep(2.5)  # log lines are out

            def switches() -> list[str]:
                return [
                    line
                    for pid in node.others
                    for line in Path(f"/proc/{pid}/status").read_text().splitlines()
                    if line.startswith("voluntary")
                ]

            before, spent = switches(), [cpu(pid) for pid in node.others]
            time.sleep(2)
            assert switches() == before
            assert [cpu(pid) for pid in node.others] == spent
