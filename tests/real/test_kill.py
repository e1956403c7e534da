"""Signals and kills of a node at work: what is under way ends well, what cannot is cut visibly, and the port is
free for the next start.
"""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from ..harness import Closed, Origin, RawClient, site
from ..harness.process import free_port
from ..harness.sync import eventually
from .content import LARGE, node, slow_client
from .nginx import Nginx
from .node import Node


@pytest.mark.parametrize("lane", ["hit", "miss", "passed"])
def test_term_lets_a_slow_client_have_its_whole_answer(origin: Origin, lane: str) -> None:
    with node(origin) as serve:
        if lane == "hit":
            assert serve.get("/large").body == LARGE
        client = slow_client(serve.port)
        idle = RawClient(serve.port)
        idle.get("/page")
        with client, idle:
            client.request("GET", "/large-passed" if lane == "passed" else "/large")
            _, reader = client.read_head()
            body = bytearray(reader.exactly(100_000))
            serve.signal(signal.SIGTERM)
            eventually(lambda: "draining" in serve.stderr, "the drain")
            idle.expect_closed()
            with pytest.raises(OSError):
                RawClient(serve.port).close()
            while data := reader.some(256 << 10):
                body += data
                time.sleep(0.005)
            assert body == LARGE
            client.expect_closed()
        assert serve.wait() == 0
        assert "Traceback" not in serve.stderr


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_cuts_a_download_and_leaves(origin: Origin, second: signal.Signals) -> None:
    with node(origin) as serve, slow_client(serve.port) as client:
        client.request("GET", "/large")
        _, reader = client.read_head()
        reader.exactly(100_000)
        serve.signal(signal.SIGTERM)
        eventually(lambda: "draining" in serve.stderr, "the drain")
        reader.exactly(100_000)
        began = time.monotonic()
        serve.signal(second)
        assert serve.wait() == 1
        assert time.monotonic() - began < 3
        with pytest.raises((Closed, ConnectionResetError)):
            reader.rest()  # short of its length: nobody takes it for the whole


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_port_is_free_for_the_next_start(origin: Origin, number: signal.Signals) -> None:
    port = free_port()
    for _ in range(2):
        with node(origin, port) as serve:
            clients = [RawClient(port) for _ in range(20)]
            for client in clients:
                assert client.get("/page").body == b"page /page"
            slow = slow_client(port)
            slow.request("GET", "/large")
            slow.read_head()
            serve.signal(number)
            if number == signal.SIGTERM:
                eventually(lambda: "draining" in serve.stderr, "the drain")
                serve.signal(number)
            assert serve.wait() == (-signal.SIGKILL if number == signal.SIGKILL else 1)
            # The clients' ends stay open: the next start meets their remains on its port.
            began = time.monotonic()
            with node(origin, port) as another:
                assert another.get("/page").body == b"page /page"
                print(f"\nafter {number.name} serving again within {time.monotonic() - began:.2f} s")
            for client in [*clients, slow]:
                client.close()


@pytest.mark.real
def test_a_port_that_nginx_has_is_one_sentence_and_2(origin: Origin, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("nginx was here first")
    with Nginx(tmp_path, tmp_path, "") as nginx, Node(site(origin), port=nginx.port, wait=False) as serve:
        assert serve.wait() == 2
        assert serve.stderr.splitlines()[-1] == (
            f"cdn serve: http://127.0.0.1:{nginx.port}: the port is in use by another process; "
            "stop it or listen on another port"
        )
        assert "Traceback" not in serve.stderr
        with RawClient(nginx.port) as client:
            assert client.get("/").body == b"nginx was here first"
