"""`cdn serve` as a process: its start, its signals, its exit codes, and the admin listener of a real
worker.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ..harness.process import command, free_port
from ..harness.sync import eventually


class Origin(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    asked: list[str]
    hold = threading.Event()

    def do_GET(self) -> None:
        if self.path.startswith("/held"):
            self.hold.wait(20)
        body = b"hello " + self.path.encode()
        self.send_response(200)
        self.send_header("Cache-Control", "private" if self.path.startswith("/mine") else "max-age=60")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextlib.contextmanager
def origin() -> Iterator[int]:
    Origin.hold = threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Origin)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        Origin.hold.set()
        server.shutdown()
        thread.join()
        server.server_close()


class Site:
    """A configuration file, its node and its ports."""

    def __init__(self, home: Path, origin_port: int, log: str = "json") -> None:
        self.port, self.admin = free_port(), free_port()
        self.file, self.log = home / "site.yaml", home / "access.log"
        self.out, self.err = home / "out", home / "err"
        self.text = (
            f"node: {{name: edge-1}}\nlisten: [http://127.0.0.1:{self.port}]\n"
            f"admin: {{listen: http://127.0.0.1:{self.admin}}}\nworkers: 2\n"
            f"log: {{access: {{to: {self.log}, format: {log}}}}}\nlimits: {{connections: 100}}\n"
            f"store: {{memory: 16 MiB}}\n"
            f"origins: {{app: {{servers: [http://127.0.0.1:{origin_port}]}}}}\n"
            "routes: [{match: {path: /*}, origin: app}]\n"
        )

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        self.file.write_text(self.text)
        with self.out.open("ab") as out, self.err.open("ab") as err:
            return subprocess.Popen(
                command("serve", str(self.file), *options), stdin=subprocess.DEVNULL, stdout=out, stderr=err
            )

    @contextlib.contextmanager
    def serving(self, *options: str) -> Iterator[subprocess.Popen[bytes]]:
        child = self.start(*options)
        try:
            eventually(
                lambda: "admin and dashboard" in self.said or child.poll() is not None, "the start", 20
            )
            assert child.poll() is None, self.said
            yield child
        finally:
            if child.poll() is None:
                child.kill()
            child.wait(10)
            assert "Traceback" not in self.said

    @property
    def said(self) -> str:
        return self.err.read_text() if self.err.exists() else ""

    def get(self, path: str, port: int | None = None) -> tuple[str, bytes]:
        """Head and body of one answer."""
        with socket.create_connection(("127.0.0.1", port or self.port), 10) as client:
            client.sendall(
                b"GET %b HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: close\r\n\r\n"
                % (path.encode(), port or self.port)
            )
            answer = b"".join(iter(lambda: client.recv(65536), b""))
        head, _, body = answer.partition(b"\r\n\r\n")
        return head.decode("latin-1"), body

    def stats(self) -> Any:
        return json.loads(self.get("/v1/stats", self.admin)[1])


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with origin() as port:
        yield Site(tmp_path, port)


def ask(site: Site, *arguments: str) -> subprocess.CompletedProcess[str]:
    where = f"http://127.0.0.1:{site.admin}"
    return subprocess.run(
        command(*arguments, "--admin", where), capture_output=True, text=True, timeout=20, check=False
    )


def test_a_node_from_its_start_to_its_end(site: Site) -> None:
    with site.serving() as child:
        assert f"listening on http://127.0.0.1:{site.port}\n" in site.said
        assert re.search(r"node edge-1, process \d+, \d workers?\n", site.said)
        assert "edge-1; fwd=uri-miss" in site.get("/a")[0]
        head, body = site.get("/a")
        assert "edge-1; hit" in head
        assert body == b"hello /a"
        site.get("/mine")
        stats = site.stats()
        assert (stats["outcomes"]["miss"], stats["outcomes"]["hit"]) == (2, 1)
        assert stats["no_store"]["private"] == 1
        assert stats["store"]["objects"] == 1
        assert stats["node"] == "edge-1"
        assert site.get("/readyz", site.admin)[1] == b"ready\n"
        child.send_signal(signal.SIGTERM)
        assert child.wait(10) == 0
        assert site.said.endswith("ended\n")
    lines = [json.loads(line) for line in site.log.read_bytes().splitlines()]
    assert sorted((line["target"], line["outcome"], line["no_store"]) for line in lines) == [
        ("/a", "hit", None),
        ("/a", "miss", None),
        ("/mine", "miss", "private"),
    ]
    assert len({tuple(line) for line in lines}) == 1  # the same names in the same order in every lane


def test_explain_and_purge_of_a_running_node(site: Site) -> None:
    url = f"http://127.0.0.1:{site.port}/a"
    with site.serving():
        assert '"stored": null' in ask(site, "explain", url, "--json").stdout
        site.get("/a")
        done = ask(site, "explain", url)
        assert done.returncode == 0
        assert "lifetime source" in done.stdout
        assert ask(site, "purge", "--url", url).stdout == "purged 1 URL: 1 reached\n"
        assert "fwd=uri-miss" in site.get("/a")[0]
        assert ask(site, "purge", "--url", url, "--soft").returncode == 0
        assert "stale" in site.get("/a")[0]
        assert ask(site, "purge", "--all").returncode == 0
        assert "fwd=uri-miss" in site.get("/a")[0]
        eventually(lambda: site.said.count("audit: ") == 3, "the audit lines")


def test_metrics_of_a_real_worker_are_valid(site: Site) -> None:
    parser = pytest.importorskip("prometheus_client.parser")
    with site.serving():
        site.get("/a")
        site.get("/a")
        head, body = site.get("/metrics", site.admin)
        assert "text/plain; version=0.0.4" in head
        samples = {
            (sample.name, *sample.labels.values()): sample.value
            for family in parser.text_string_to_metric_families(body.decode())
            for sample in family.samples
        }
    assert samples["cdn_requests_total", "hit"] == 1
    assert samples["cdn_requests_total", "miss"] == 1
    assert samples["cdn_lane_requests_total", "hit"] == 1
    assert samples["cdn_connections_accepted_total",] == 2
    assert samples["cdn_store_objects",] == 1
    assert samples["cdn_origin_requests", "app"] == 1
    assert samples["cdn_bytes_total", "out"] > 100


def test_a_reload_takes_routes_and_keeps_the_old_on_a_mistake(site: Site) -> None:
    with site.serving() as child:
        assert site.get("/b/x")[0].startswith("HTTP/1.1 200")
        site.file.write_text(site.text.replace("path: /*", "path: /a/*"))
        child.send_signal(signal.SIGHUP)
        eventually(lambda: "reloaded " in site.said, "the reload")
        assert site.get("/b/x")[0].startswith("HTTP/1.1 404")
        assert site.get("/a/x")[0].startswith("HTTP/1.1 200")
        site.file.write_text(site.text.replace("origin: app", "orgin: app"))
        child.send_signal(signal.SIGHUP)
        eventually(lambda: "the old configuration stays" in site.said, "the refusal")
        assert site.get("/a/x")[0].startswith("HTTP/1.1 200")
        assert site.said.count("orgin") == 1
        assert site.stats()["reloads"] == {"done": 1, "refused": 1}


def test_a_reload_opens_the_access_log_anew(site: Site) -> None:
    with site.serving() as child:
        site.get("/a")
        eventually(lambda: site.log.stat().st_size > 0, "the first line")
        site.log.rename(site.log.with_suffix(".1"))
        child.send_signal(signal.SIGHUP)
        eventually(site.log.exists, "the new file")
        site.get("/b")
        eventually(lambda: b'"/b"' in site.log.read_bytes(), "the line in the new file")
    assert b'"/b"' not in site.log.with_suffix(".1").read_bytes()


def test_term_lets_a_request_finish_and_takes_no_new_one(site: Site) -> None:
    with site.serving() as child:
        answers: list[tuple[str, bytes]] = []
        client = threading.Thread(target=lambda: answers.append(site.get("/held")))
        client.start()
        eventually(lambda: site.stats()["exchanges"] == 1, "the request to be under way")
        child.send_signal(signal.SIGTERM)
        eventually(lambda: "draining" in site.said, "the drain")
        assert site.get("/readyz", site.admin)[0].startswith("HTTP/1.1 503")
        with pytest.raises(OSError):
            site.get("/new")
        Origin.hold.set()
        client.join(10)
        assert answers[0][0].startswith("HTTP/1.1 200")
        assert answers[0][1] == b"hello /held"
        assert child.wait(10) == 0


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_leaves_at_once(site: Site, second: signal.Signals) -> None:
    with site.serving() as child:
        client = socket.create_connection(("127.0.0.1", site.port), 10)
        client.sendall(f"GET /held HTTP/1.1\r\nHost: 127.0.0.1:{site.port}\r\n\r\n".encode())
        eventually(lambda: site.stats()["exchanges"] == 1, "the request to be under way")
        child.send_signal(signal.SIGTERM)
        eventually(lambda: "draining" in site.said, "the drain")
        assert child.poll() is None
        began = time.monotonic()
        child.send_signal(second)
        assert child.wait(10) == 1
        assert time.monotonic() - began < 3
        client.close()


def test_a_drain_is_bounded(site: Site) -> None:
    with site.serving("--drain", "0.5") as child:
        client = socket.create_connection(("127.0.0.1", site.port), 10)
        client.sendall(f"GET /held HTTP/1.1\r\nHost: 127.0.0.1:{site.port}\r\n\r\n".encode())
        eventually(lambda: site.stats()["exchanges"] == 1, "the request to be under way")
        child.send_signal(signal.SIGTERM)
        assert child.wait(6) == 1
        assert "connections that were not finished are cut" in site.said
        client.close()


@pytest.mark.parametrize("share", [False, True])
@pytest.mark.parametrize("which", ["port", "admin"])
def test_a_port_in_use_is_one_sentence_and_2(site: Site, which: str, share: bool) -> None:
    port = getattr(site, which)
    with socket.socket() as owner:
        if share:
            owner.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        owner.bind(("127.0.0.1", port))
        owner.listen()
        child = site.start()
        assert child.wait(15) == 2
    lines = [line for line in site.said.splitlines() if not line.startswith("warning:")]
    assert lines == [
        f"cdn serve: http://127.0.0.1:{port}: the port is in use by another process; "
        "stop it or listen on another port"
    ]


def test_two_nodes_of_one_file(site: Site) -> None:
    with site.serving():
        second = site.start()
        assert second.wait(15) == 2
        assert "the port is in use" in site.said
        assert site.get("/a")[0].startswith("HTTP/1.1 200")


def test_an_access_log_that_cannot_be_written_is_one_sentence_and_2(site: Site) -> None:
    fifo = site.log.with_name("fifo")
    os.mkfifo(fifo)
    site.text = site.text.replace(str(site.log), str(fifo))
    child = site.start()
    assert child.wait(15) == 2
    lines = [line for line in site.said.splitlines() if not line.startswith("warning:")]
    assert len(lines) == 1
    assert f"log: cannot open {fifo}" in lines[0]


def test_a_store_that_cannot_be_had_is_one_sentence_and_2(site: Site) -> None:
    site.text = site.text.replace("memory: 16 MiB", "memory: 900 TiB")
    child = site.start()
    assert child.wait(15) == 2
    lines = [line for line in site.said.splitlines() if not line.startswith("warning:")]
    assert len(lines) == 1


def test_a_stuck_reader_of_the_access_log_holds_up_nobody(site: Site) -> None:
    fifo = site.log.with_name("fifo")
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    site.text = site.text.replace(str(site.log), str(fifo))
    try:
        with site.serving("--drain", "1") as child:
            line = f"GET /a?{'x' * 1400} HTTP/1.1\r\nHost: 127.0.0.1:{site.port}\r\n\r\n".encode()
            site.get("/a?" + "x" * 1400)
            with socket.create_connection(("127.0.0.1", site.port), 10) as client:
                for _ in range(40):  # 4,000 lines of 1.7 kB: more than the buffer and the pipe hold
                    client.sendall(line * 100)
                    seen = 0
                    while seen < 100:
                        seen += client.recv(1 << 20).count(b"HTTP/1.1 200")
            eventually(lambda: site.stats()["access_log"]["dropped"] > 0, "lines to be dropped")
            assert site.stats()["access_log"]["waiting"] <= 4 << 20
            assert site.get("/b")[0].startswith("HTTP/1.1 200")
            child.send_signal(signal.SIGTERM)
            assert child.wait(10) == 0
            assert "the access log's reader is stuck" in site.said
    finally:
        os.close(reader)
