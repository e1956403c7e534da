"""The demo in a real browser: its page comes through the cache, and the second visit is answered by the hit lane."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.harness.sync import eventually

from ..control.test_demo import Demo, demo
from ..harness import RawClient
from .chromium import dom, drawn_rows, screenshot

pytestmark = pytest.mark.real

# What the page is made of: itself, its style, its script, six pictures.
PARTS = ["/", "/app.js", *(f"/images/{n}.png" for n in range(1, 7)), "/styles.css"]


def stats(it: Demo) -> dict[str, Any]:
    port = int(it.url("dashboard").rpartition(":")[2])
    with RawClient(port) as client:
        found: dict[str, Any] = json.loads(client.get("/v1/stats", host=f"127.0.0.1:{port}").body)
    return found


def logged(it: Demo) -> list[tuple[str, str]]:
    """Target and outcome of the requests so far."""
    return re.findall(r'"GET (\S+) HTTP/1\.1" 200 .* (hit|miss) ', it.said)


def test_the_second_visit_is_all_hits(tmp_path: Path) -> None:
    with demo(tmp_path) as it:
        url = it.url("page") + "/"
        first = dom(url)
        assert "This page came through the cache" in first
        assert first.count("<button") >= 10, "the script did not run"
        middle = stats(it)
        assert middle["outcomes"]["miss"] == len(PARTS)
        assert middle["lanes"]["hit"] == 0

        assert dom(url) == first
        after = stats(it)
        assert after["lanes"]["hit"] == len(PARTS)
        assert after["outcomes"]["hit"] == len(PARTS)
        assert after["origins"]["site"]["requests"] == middle["origins"]["site"]["requests"]
        eventually(lambda: len(logged(it)) >= 2 * len(PARTS), "the log lines of both visits")
    requests = logged(it)
    assert sorted(requests[: len(PARTS)]) == [(part, "miss") for part in PARTS]
    assert sorted(requests[len(PARTS) :]) == [(part, "hit") for part in PARTS]


def test_pages_are_drawn(tmp_path: Path) -> None:
    with demo(tmp_path) as it:
        page, board = tmp_path / "page.png", tmp_path / "board.png"
        screenshot(it.url("page") + "/", page, 1100, 1300)
        screenshot(it.url("dashboard") + "/", board, 1100, 900)
        shown = dom(it.url("dashboard") + "/")
    print(f"\n{page} {board}")
    for picture, size in ((page, (1100, 1300)), (board, (1100, 900))):
        width, height, different = drawn_rows(picture)
        assert (width, height) == size
        assert different > 100, f"{picture.name} is all but blank"
    assert 'class="live"' in shown
    assert re.search(r"miss</span></td><td>9\b", shown), shown
