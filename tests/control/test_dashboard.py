"""The dashboard in a real browser: it loads nothing from elsewhere and shows the node's numbers."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ..peers import need
from .fakes import FakeNode, running_admin


def browse(url: str, home: Path, *options: str) -> str:
    """The page's DOM after three seconds of its own time."""
    command = [
        need("chromium"), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={home}",
        "--virtual-time-budget=3000", "--enable-logging=stderr", *options, "--dump-dom", url,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    complaints = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert complaints == []
    return done.stdout


@pytest.mark.real
def test_it_shows_the_numbers_of_the_node(tmp_path: Path) -> None:
    with running_admin() as admin:
        page = browse(f"http://127.0.0.1:{admin.port}/", tmp_path)
    text = re.sub(r"<[^>]+>", " ", page.partition("<script>")[0])
    assert "edge-1" in text
    assert "up 1 min 1 s" in text
    assert "360 requests" in text
    assert "stale-swr" in text
    assert "5.0 MiB of 256 MiB" in text
    assert re.search(r"app\s+40\s+2\s+121 KiB", text)
    assert 'class="live"' in page
    assert re.search(r'id="bus-card" hidden', page)


SERVER: dict[str, Any] = {
    "state": "up", "backup": 0, "busy": 2, "idle": 3, "answered": 1100, "failures": {"reset": 1, "dns": 4},
    "average_ms": 12.34, "ejections": 7, "latency_ms": {"bounds": [1], "counts": [1, 0], "sum_seconds": 1.0},
}  # fmt: skip
BUS: dict[str, Any] = {
    "connected": 1, "sequence": 1234, "lag": 2, "configuration": "0123456789ab", "nodes": [
        {"node": "edge-2", "tier": "edge", "configuration": "0123456789ab", "sequence": 1232, "heard_ms": 1000},
        {"node": "<i>x</i>", "tier": "shield", "configuration": "ba9876543210", "sequence": 7, "heard_ms": 0},
    ],
}  # fmt: skip


@pytest.mark.real
def test_servers_shields_and_other_nodes_have_their_rows(tmp_path: Path) -> None:
    node = FakeNode()
    backup = {**SERVER, "state": "ejected", "backup": 1, "failures": {}, "ejections": 0}
    node.counters["origins"] = {
        "app": {"requests": 5, "servers": {"http://a:1": SERVER, "http://<b>:2": backup}}
    }
    node.counters["shields"] = {"requests": 1, "servers": {"http://s:3": {**SERVER, "state": "returning"}}}
    node.counters["bus"] = BUS
    with running_admin(node) as admin:
        page = browse(f"http://127.0.0.1:{admin.port}/", tmp_path)
    assert "<b>:2" not in page
    assert "<i>x" not in page
    text = re.sub(r"<[^>]+>", " ", page.partition("<script>")[0])
    assert re.search(r"http://a:1\s+app\s+up\s+2\s+3\s+1,100\s+5\s+12\.3 ms\s+7\b", text)
    assert re.search(
        r"http://&lt;b&gt;:2\s+app \(backup\)\s+ejected\s+2\s+3\s+1,100\s+0\s+12\.3 ms\s+0\b", text
    )
    assert re.search(r"http://s:3\s+shields\s+returning\s", text)
    assert "Bus: connected, purge 1,234, 2 behind, configuration 0123456789ab" in text
    assert re.search(r"edge-2\s+edge\s+1,232\s+the same\s+1 s", text)
    assert re.search(r"&lt;i&gt;x&lt;/i&gt;\s+shield\s+7\s+another: ba9876543210\s", text)


@pytest.mark.real
def test_hostile_names_are_text(tmp_path: Path) -> None:
    node = FakeNode(name="<img src=x onerror=alert(1)>")
    node.counters["origins"] = {"<b>bold</b>": {"requests": 1, "<i>": "<script>alert(2)</script>"}}
    with running_admin(node) as admin:
        page = browse(f"http://127.0.0.1:{admin.port}/", tmp_path)
    assert "<img" not in page
    assert "<b>bold" not in page
    assert "&lt;b&gt;bold" in page


@pytest.mark.real
def test_it_asks_for_the_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_TOKEN", "t")
    with running_admin(token_env="TEST_TOKEN") as admin:
        command = [
            need("chromium"), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}",
            "--virtual-time-budget=3000", "--dump-dom", f"http://127.0.0.1:{admin.port}/",
        ]  # fmt: skip
        page = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout
    assert re.search(r'<section id="login" class="card">', page)
    assert re.search(r'id="board" class="grid" hidden', page)


def test_it_refers_to_nothing_elsewhere() -> None:
    with running_admin() as admin:
        answer = admin.ask("GET", "/")
    page = answer.body.decode()
    assert (
        re.findall(r"""(?:src|href)=["'](?!data:)[^"']*|url\(|@import|https?://(?!www\.w3\.org)""", page)
        == []
    )
    policy = answer.fields["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.fields["X-Frame-Options"] == "DENY"
