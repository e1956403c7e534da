"""Debian's Chromium without a screen: a page as it is after its scripts have run, and a picture of it.

Each visit has an empty profile, so nothing comes from the browser's own cache.
"""

from __future__ import annotations

import subprocess
import tempfile
import zlib
from pathlib import Path

from ..peers import need

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
    "--hide-scrollbars",
)


def _visit(url: str, *options: str, settle: int) -> str:
    with tempfile.TemporaryDirectory(prefix="cdn-chromium-", ignore_cleanup_errors=True) as home:
        done = subprocess.run(
            [
                need("chromium"), *FLAGS, f"--user-data-dir={home}", f"--virtual-time-budget={settle}",
                *options, url,
            ],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    complaints = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert complaints == []
    return done.stdout


def dom(url: str, *options: str, settle: int = 3000) -> str:
    """The document after `settle` ms of the page's own time."""
    return _visit(url, "--dump-dom", *options, settle=settle)


def screenshot(url: str, file: Path, width: int, height: int, settle: int = 3000) -> None:
    """A PNG of the window."""
    _visit(url, f"--screenshot={file}", f"--window-size={width},{height}", settle=settle)


def drawn_rows(file: Path) -> tuple[int, int, int]:
    """Width and height of a PNG, and how many of its rows differ from each other as stored."""
    data = file.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    at, packed, width, height, channels = 8, b"", 0, 0, 0
    while at < len(data):
        length, kind = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8]
        body = data[at + 8 : at + 8 + length]
        if kind == b"IHDR":
            width, height = int.from_bytes(body[:4]), int.from_bytes(body[4:8])
            assert body[8] == 8, "8 bits a channel"
            channels = {2: 3, 6: 4}[body[9]]
        elif kind == b"IDAT":
            packed += body
        at += 12 + length
    rows, stride = zlib.decompress(packed), 1 + width * channels
    return width, height, len({rows[start : start + stride] for start in range(0, len(rows), stride)})
