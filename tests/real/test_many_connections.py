"""Thousands of kept-alive connections held while 64 clients load the proxy: no error, little memory, no growth.

Memory is the kernel's account of the proxy's process. What a connection costs is counted in anonymous
pages: the store is a shared mapping and is not among them, nor is what the kernel holds for a socket.
"""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..harness import HOST, request_bytes, site
from ..harness.sync import eventually
from ..peers import need, open_files
from .nginx import Nginx
from .node import Node

pytestmark = pytest.mark.real

CLIENTS = 64
ADDRESSES = 16  # the clients' addresses, 127.0.0.2 and up: fewer connections each than one address may have
PER_CONNECTION = 8 << 10  # bytes of user space that an idle connection may cost
GROWTH = 1 << 20  # bytes that two more rounds of load may move the resident memory: the allocator's noise
ROUNDS = 8  # in which there have to be two without more: where others use the machine, requests pile up higher at times
SMALL, LARGE = b"s" * 1024, b"l" * 102_400
IP_BIND_ADDRESS_NO_PORT = 24  # Linux: the port is chosen with the destination known

# What the clients ask for in turn: hits of two sizes, a range, a validation, and one answer from the origin.
SCRIPT = """\
local asked = {{
  wrk.format("GET", "/small", {{Host = "{host}"}}),
  wrk.format("GET", "/large", {{Host = "{host}"}}),
  wrk.format("GET", "/small", {{Host = "{host}", ["Accept-Encoding"] = "gzip, br"}}),
  wrk.format("GET", "/large", {{Host = "{host}", Range = "bytes=1000-1999"}}),
  wrk.format("GET", "/small", {{Host = "{host}", ["If-Modified-Since"] = "Fri, 01 Jan 2100 00:00:00 GMT"}}),
  wrk.format("GET", "/small", {{Host = "{host}"}}),
  wrk.format("GET", "/fresh/small", {{Host = "{host}"}}),
}}
local turn = 0
function request()
  turn = turn % #asked + 1
  return asked[turn]
end
function done(summary)
  local errors = summary.errors
  io.write(string.format("requests=%d connect=%d read=%d write=%d status=%d timeout=%d\\n", summary.requests,
    errors.connect, errors.read, errors.write, errors.status, errors.timeout))
end
"""


def ask(client: socket.socket) -> None:
    """One hit on a connection, whole."""
    client.sendall(request_bytes("GET", "/small"))
    answer = bytearray()
    while not answer.endswith(b"\r\n\r\n" + SMALL):
        data = client.recv(1 << 16)
        assert data, f"closed after {bytes(answer[:200])!r}"
        answer += data
    assert answer.startswith(b"HTTP/1.1 200 "), bytes(answer[:200])


def connect(port: int, number: int) -> socket.socket:
    client = socket.socket()
    try:
        client.settimeout(20)
        client.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        client.bind((f"127.0.0.{2 + number % ADDRESSES}", 0))
        client.connect(("127.0.0.1", port))
        ask(client)
    except BaseException:
        client.close()
        raise
    return client


@contextlib.contextmanager
def held(port: int, count: int) -> Iterator[list[socket.socket]]:
    """`count` connections that have had one answer each and stay open."""
    clients: list[socket.socket] = []
    try:
        for number in range(count):
            clients.append(connect(port, number))
        yield clients
    finally:
        for client in clients:
            client.close()


def load(port: int, script: Path, seconds: int) -> int:
    """64 clients for so many seconds; the number of answers, of which none was an error."""
    command = [need("wrk"), "-t1", f"-c{CLIENTS}", f"-d{seconds}s", "--timeout", "2s", "-s", str(script)]
    done = subprocess.run(
        [*command, f"http://127.0.0.1:{port}/"],
        capture_output=True,
        text=True,
        timeout=seconds + 60,
        check=False,
    )
    found = re.search(r"^requests=(\d+) connect=0 read=0 write=0 status=0 timeout=0$", done.stdout, re.M)
    assert found is not None, done.stdout + done.stderr
    return int(found[1])


def settled(node: Node, figure: str) -> int:
    """The figure once the clients of the last load are gone and what they left is freed."""
    time.sleep(0.5)
    return node.memory(figure)


@pytest.mark.parametrize(
    ("count", "seconds"),
    [
        pytest.param(2_000, 2, id="2000"),
        pytest.param(
            10_000, 20, id="10000", marks=[pytest.mark.full, pytest.mark.alone, pytest.mark.timeout(300)]
        ),
    ],
)
def test_idle_connections_cost_little_and_load_leaves_nothing(
    tmp_path: Path, count: int, seconds: int
) -> None:
    need("wrk")
    root = tmp_path / "root"
    (root / "fresh").mkdir(parents=True)
    (root / "small").write_bytes(SMALL)
    (root / "large").write_bytes(LARGE)
    (root / "fresh" / "small").write_bytes(SMALL)
    script = tmp_path / "load.lua"
    script.write_text(SCRIPT.format(host=HOST))
    rules = (
        "location / { add_header Cache-Control max-age=3600; } "
        "location /fresh/ { add_header Cache-Control no-store; }"
    )
    with open_files(count + 500), Nginx(root, tmp_path, rules) as nginx:
        tree = site(
            nginx.port,
            limits={"connections": count + 500},
            timeouts={"idle": "10m"},
            log={"access": {"to": "/dev/null", "format": "json"}},
        )
        with Node(tree) as node:
            load(node.port, script, 1)  # everything is stored, every pool is filled
            before = settled(node, "Anonymous")
            with held(node.port, count) as clients:
                eventually(lambda: node.stats()["connections"]["open"] >= count, "the connections to be open")
                each = (settled(node, "Anonymous") - before) / count
                answers, resident = [], []
                while len(resident) < 3 or (resident[-1] > resident[-3] + GROWTH and len(resident) < ROUNDS):
                    answers.append(load(node.port, script, seconds))
                    resident.append(settled(node, "Rss"))
                for client in clients:
                    ask(client)
                stats = node.stats()
            eventually(lambda: node.stats()["connections"]["open"] < 10, "the connections to be gone", 20)
    print(
        f"\n{count} connections held: {each:.0f} bytes of user space each; answers {answers} in {seconds} s "
        f"each; resident after each {[f'{size / 2**20:.2f} MiB' for size in resident]}"
    )
    assert each <= PER_CONNECTION, f"{each:.0f} bytes for an idle connection"
    assert resident[-1] <= resident[-3] + GROWTH, resident
    assert min(answers) > 200 * seconds, "the load stood still"
    assert stats["connections"]["refused"] == 0
    assert stats["connections"]["timeouts"] == 0
    assert stats["statuses"].get("5xx", 0) == 0
    assert stats["lanes"]["hit"] > 0.8 * sum(answers)
    assert stats["origins"]["app"]["errors"] == 0
