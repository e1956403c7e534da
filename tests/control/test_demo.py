"""`cdn demo` as a person meets it: what it prints works, its page works in a browser, Ctrl-C ends all of
it.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..harness.process import command, free_port
from ..harness.sync import eventually
from ..peers import need


class Demo:
    def __init__(self, child: subprocess.Popen[str], said: Path) -> None:
        self.child = child
        self._said = said

    @property
    def said(self) -> str:
        return self._said.read_text()

    def url(self, what: str) -> str:
        found = re.search(rf"the {what} +(http://127\.0\.0\.1:\d+)/", self.said)
        assert found is not None, self.said
        return found[1]

    def tried(self, about: str) -> str:
        """What the printed line about `about` answers, run as a person would."""
        found = re.search(rf"  # {re.escape(about)}\n  (.*)", self.said)
        assert found is not None, self.said
        line = re.sub(r"^cdn ", f"{shlex.quote(sys.executable)} -m cdn ", found[1])
        done = subprocess.run(["sh", "-c", line], capture_output=True, timeout=30, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.decode("latin-1")


@contextlib.contextmanager
def demo(tmp_path: Path, *options: str) -> Iterator[Demo]:
    said = tmp_path / "said"
    ports = [
        part for name in ("--port", "--admin-port", "--origin-port") for part in (name, str(free_port()))
    ]
    with said.open("w") as out:
        child = subprocess.Popen(
            command("demo", *ports, *options),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            text=True,
            start_new_session=True,
        )
    it = Demo(child, said)
    try:
        eventually(lambda: "Ctrl-C ends" in it.said or child.poll() is not None, "the demo's start", 30)
        assert child.poll() is None, it.said
        yield it
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
        child.wait(10)
    assert "Traceback" not in it.said


@pytest.mark.real
def test_what_it_prints_works(tmp_path: Path) -> None:
    need("curl")
    with demo(tmp_path) as it:
        first, second = it.tried("a miss, then a hit with Age"), it.tried("a miss, then a hit with Age")
        assert "fwd=uri-miss" in first
        assert re.search(r"Cache-Status: demo; hit", second)
        assert re.search(r"Age: \d", second)
        assert float(it.tried("2 s, then none").split()[0]) > 1.9
        assert float(it.tried("2 s, then none").split()[0]) < 0.5
        for _ in range(2):
            assert "hit" not in it.tried("no-store: always from the origin")
            assert "hit" not in it.tried("private, Set-Cookie: never stored")
        assert "Content-Length: 20000000" in it.tried("20 MB: stored on the way through")
        assert "; hit" in it.tried("20 MB: stored on the way through")
        part = it.tried("a range of it, from the store")
        assert "HTTP/1.1 206" in part
        assert "Content-Range: bytes 0-99/20000000" in part
        assert "; hit" in part
        it.tried("304: the client has it already")
        assert "HTTP/1.1 304" in it.tried("304: the client has it already")
        it.tried("stale after 2 s: served, refreshed behind")
        time.sleep(2.2)
        assert "hit" in it.tried("stale after 2 s: served, refreshed behind")
        assert "max-age" in it.tried("why")
        assert "reached" in it.tried("forget it")
        assert "fwd=uri-miss" in it.tried("a miss, then a hit with Age")
        assert re.search(r'"GET /pages/1 HTTP/1\.1" 200 .* hit ', it.said)


@pytest.mark.real
def test_its_pages_work_in_a_browser(tmp_path: Path) -> None:
    browser = [
        need("chromium"), "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
        f"--user-data-dir={tmp_path / 'home'}", "--virtual-time-budget=15000", "--dump-dom",
    ]  # fmt: skip

    def page(url: str) -> str:
        done = subprocess.run([*browser, url], capture_output=True, text=True, timeout=60, check=False)
        complaints = [line for line in done.stderr.splitlines() if "CONSOLE" in line and " 304 " not in line]
        assert complaints == []
        return done.stdout

    with demo(tmp_path) as it:
        site = it.url("page")
        page(f"{site}/#all")
        again = page(f"{site}/#all")
        answers = re.findall(r'<li><span class="badge ?([a-z]*)">([\w-]+)</span>(\d+) .*?</li>', again)
        assert len(answers) == 12, again
        assert [name for _kind, name, _status in answers].count("hit") >= 7
        assert {"206", "304", "200"} == {status for _kind, _name, status in answers}
        board = page(f"{it.url('dashboard')}/")
        assert 'class="live"' in board
        assert re.search(r"hit</span></td><td>\d", board)


def test_ctrl_c_ends_all_of_it(tmp_path: Path) -> None:
    with demo(tmp_path) as it:
        ports = [int(url.rpartition(":")[2]) for url in (it.url("page"), it.url("dashboard"))]
        children = Path(f"/proc/{it.child.pid}/task/{it.child.pid}/children").read_text().split()
        assert len(children) >= 3  # the origin, the control process, a worker
        os.killpg(it.child.pid, signal.SIGINT)  # as a terminal does: to every process of the group
        assert it.child.wait(10) == 0
        assert not [child for child in children if Path(f"/proc/{child}").exists()]
        for port in ports:
            with pytest.raises(OSError):
                socket.create_connection(("127.0.0.1", port), 1)


def test_nothing_outlives_a_killed_demo(tmp_path: Path) -> None:
    with demo(tmp_path) as it:
        children = Path(f"/proc/{it.child.pid}/task/{it.child.pid}/children").read_text().split()
        it.child.kill()
        it.child.wait(10)
        eventually(
            lambda: not [child for child in children if Path(f"/proc/{child}").exists()], "the others to end"
        )


def test_taken_ports_are_replaced_and_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as owner, socket.create_server(("127.0.0.1", 0)) as other:
        mine, theirs = owner.getsockname()[1], other.getsockname()[1]
        with demo(tmp_path, "--port", str(mine), "--origin-port", str(theirs)) as it:
            assert f"port {mine} is taken: the proxy is on " in it.said
            assert f"port {theirs} is taken: the origin is on " in it.said
            assert not it.url("page").endswith(f":{mine}")
