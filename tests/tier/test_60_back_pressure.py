"""A large body through a slow reader: the origin waits, memory stays bounded, in a process of its own."""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.tier.certificates import local_authority, secured

ROOT = Path(__file__).resolve().parents[2]
SIZE = 200 << 20

# The child is the client alone, so that what its memory grows by is the client's; the origin is a thread of
# this process that writes as fast as it is let.
CHILD = """
import asyncio, hashlib, json, resource, ssl, sys, time
from tests.tier.scripted import asking, origin_of, run

client, port, size, stall = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
trusted = ssl.create_default_context(cafile=sys.argv[5])

def resident():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * resource.getpagesize()

async def main():
    async with asking(client, origin_of(port), trusted) as asker:
        response = await asker.open()
        await asyncio.sleep(stall)          # all that may pile up does
        before = top = resident()
        total, digest, pieces = 0, hashlib.blake2b(), 0
        while piece := await response.read():
            digest.update(piece)
            total += len(piece)
            pieces += 1
            if pieces % 64 == 0:
                await asyncio.sleep(0.002)
                top = max(top, resident())
        print(json.dumps({"total": total, "growth": top - before, "start": before,
                          "digest": digest.hexdigest(), "complete": response.complete}))

run(main(), 60)
"""


def wrapped(plain: socket.socket, tls: ssl.SSLContext | None) -> socket.socket:
    return plain if tls is None else tls.wrap_socket(plain, server_side=True)


def serve_once(framing: str, client: str) -> tuple[int, dict[str, object]]:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(1)
    seen: dict[str, object] = {"sent": 0}
    tls = secured(client)  # here: two threads would each make an authority

    def work() -> None:
        with (
            contextlib.suppress(ConnectionError, ssl.SSLError),
            listener,
            listener.accept()[0] as plain,
            wrapped(plain, tls) as sock,
        ):
            sock.recv(65536)
            digest = hashlib.blake2b()
            field = f"Content-Length: {SIZE}" if framing == "length" else "Transfer-Encoding: chunked"
            sock.sendall(f"HTTP/1.1 200 OK\r\n{field}\r\n\r\n".encode())
            sent = 0
            while sent < SIZE:
                piece = bytes([sent >> 18 & 255]) * (256 << 10)
                digest.update(piece)
                sock.sendall(piece if framing == "length" else b"40000\r\n" + piece + b"\r\n")
                sent += len(piece)
                seen["sent"] = sent
            if framing != "length":
                sock.sendall(b"0\r\n\r\n")
            seen["digest"] = digest.hexdigest()
            sock.recv(1)

    threading.Thread(target=work, daemon=True).start()
    return listener.getsockname()[1], seen


@pytest.mark.parametrize("framing", ["length", "chunks"])
@pytest.mark.parametrize("client", ["own", "tls"])
def test_memory_is_bounded(client: str, framing: str) -> None:
    port, seen = serve_once(framing, client)
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, client, str(port), str(SIZE), "0.7", str(local_authority().file)],
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    try:
        out, _ = child.communicate(timeout=90)
    finally:
        child.kill()
    assert child.returncode == 0
    got = json.loads(out)
    assert got["total"] == SIZE
    assert got["digest"] == seen["digest"]
    assert got["complete"] is True
    assert got["growth"] < 8 << 20
    assert got["start"] < 120 << 20


@pytest.mark.parametrize("client", ["own", "tls"])
def test_the_origin_waits_while_nobody_reads(client: str) -> None:
    port, seen = serve_once("length", client)
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, client, str(port), str(SIZE), "30", str(local_authority().file)],
        stdout=subprocess.DEVNULL,
        cwd=ROOT,
    )
    try:
        deadline = time.monotonic() + 10
        while not seen["sent"] and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.5)
        before = seen["sent"]
        time.sleep(0.3)
        assert seen["sent"] == before
        assert child.poll() is None  # waiting, not gone
        assert 0 < int(str(before)) < 32 << 20  # socket buffers and 256 KiB of ours
    finally:
        child.kill()
        child.wait()
