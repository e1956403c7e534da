"""What an idle connection, an active one and a stored object of this proxy cost, in bytes.

    make bench-memory
    .venv/bin/python -m bench.memory [--connections 2000] [--objects 100000]

Connections: anonymous memory (RssAnon) of all processes of a running node, before and after; the store is a shared
mapping and not in it, nor is what the kernel holds for a socket. An active connection is one that is in the middle
of a 10 MiB answer which its client does not read. Writes `benchmarks-memory.json` and the page again. Objects:
bench/micro_store.py.
"""

from __future__ import annotations

import argparse
import json
import resource
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

from bench import machine, tools, written
from bench.load import Door, probe
from bench.memory_page import FILE, table
from bench.peers import OURS, PEERS, ROOT, Place, make_programs, start, start_origin
from bench.processes import Guard, Server, family, scratch_folder
from bench.rows import SITE, chosen

SETTLE = 1.0  # seconds until what was asked for is there


def anonymous(server: Server) -> int:
    """Bytes of anonymous memory of the program and its children."""
    whole = 0
    for pid in family(server.pid):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                whole += int(line.split()[1]) << 10
    return whole


def hold(
    server: Server, port: int, count: int, request: bytes, answer: bool, tls: ssl.SSLContext | None
) -> float:
    """Bytes a connection, over `count` that sent `request` and stay; `answer`: its whole answer is read."""
    before = anonymous(server)
    held: list[socket.socket] = []
    try:
        for _ in range(count):
            one = socket.socket()
            if not answer:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            one.settimeout(10)
            one.connect(("127.0.0.1", port))
            if tls is not None:
                one = tls.wrap_socket(one)
            held.append(one)
            one.sendall(request)
            if answer:
                one.recv(65536)
        time.sleep(SETTLE)
        return (anonymous(server) - before) / count
    finally:
        for one in held:
            one.close()
        time.sleep(SETTLE)


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.memory", description="bytes a connection and an object")
    parser.add_argument("--connections", type=tools.positive, default=2000, help="default 2000")
    parser.add_argument("--objects", type=tools.positive, default=100_000, help="default 100000")
    parser.add_argument("--out", type=Path, default=ROOT / "docs", help="folder of the results; default docs")
    args = parser.parse_args()
    if code := tools.not_there("bench.memory", tools.HELD):
        return code
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if args.connections + 100 > hard:
        return tools.refuse("bench.memory", f"only {hard} open files are allowed (ulimit -n)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, args.connections + 100), hard))
    guard = Guard()
    try:
        folder = scratch_folder(guard)
        programs = folder / "programs"
        programs.mkdir()
        make_programs(programs)
        origin = start_origin(programs, folder, 0, guard)
        peer = next(p for p in PEERS if p.id == OURS)
        one = start(peer, Place(folder / OURS, origin.port, 256, 0, programs), guard)
        small, large = chosen(["hit-1k", "hit-10m"])
        for row in (small, large):
            for _ in range(2):
                probe(Door(one.port, False), row, "bare", "0", plain=True)
        hit = f"GET {small.prefix('0')} HTTP/1.1\r\nHost: {SITE}\r\n\r\n".encode()
        stuck = f"GET {large.prefix('0')} HTTP/1.1\r\nHost: {SITE}\r\n\r\n".encode()
        blind = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        blind.check_hostname, blind.verify_mode = False, ssl.CERT_NONE
        found = []
        for over, port, tls in (("", one.port, None), (" over TLS 1.3", one.tls_port, blind)):
            hold(one.server, port, args.connections // 4, hit, True, tls)  # what the allocator takes once
            for what, request, answer in (
                ("idle, after a hit", hit, True),
                ("in a 10 MiB answer", stuck, False),
            ):
                size = hold(one.server, port, args.connections, request, answer, tls)
                found.append({"what": what + over, "bytes": round(size)})
        data = {"machine": machine.describe(), "count": args.connections, "connections": found}
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / FILE).write_text(json.dumps(data, indent=1) + "\n")
        written.again(args.out)
        print(table(found))
        one.server.stop()
        origin.stop()
    finally:
        guard.close()
    overhead = [sys.executable, "-m", "bench.micro_store", "--objects", str(args.objects)]
    return subprocess.run(overhead, check=False, cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(tools.finish(main))
