"""A real site, all of it, twice: Debian's Python documentation on nginx, crawled through the proxy."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest

from ..harness import Crew, RawClient, Response, site
from ..harness.proxy import ours
from ..harness.sync import eventually
from ..peers import need_folder
from .nginx import Nginx
from .node import Node

pytestmark = pytest.mark.real

FOLDER, PACKAGE = "/usr/share/doc/python3-doc/html", "python3-doc"
CONNECTIONS = 4
SAME = ("ETag", "Last-Modified", "Content-Type", "Content-Length", "Cache-Control", "Accept-Ranges")


def files(root: Path) -> Iterator[Path]:
    """Every file below `root`; links are followed, a folder that two links reach is walked once."""
    walked = set()
    for folder, below, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in walked:
            below.clear()
            continue
        walked.add(real)
        yield from (path for name in names if (path := Path(folder, name)).is_file())


@dataclass
class Page:
    target: str
    path: Path


def ask_all(port: int, pages: list[Page]) -> dict[str, Response]:
    """The answers without their bodies, which are compared with the files at once; one connection."""
    seen = {}
    with RawClient(port, timeout=30) as client:
        for page in pages:
            response = client.get(page.target)
            assert response.status == 200, f"{page.target}: {response.status}"
            assert response.body == page.path.read_bytes(), f"{page.target}: another body than the file"
            response.body = b""
            seen[page.target] = response
    return seen


def crawl(port: int, pages: list[Page]) -> dict[str, Response]:
    with Crew(patience=100) as crew:
        tasks = [crew.start(ask_all, port, pages[start::CONNECTIONS]) for start in range(CONNECTIONS)]
        parts = [task.result(100) for task in tasks]
    return {target: response for part in parts for target, response in part.items()}


def test_a_documentation_tree_crawled_twice(tmp_path: Path) -> None:
    root = need_folder(FOLDER, PACKAGE)
    pages = [Page("/" + quote(str(path.relative_to(root))), path) for path in sorted(files(root))]
    assert len(pages) >= 1000
    size = sum(page.path.stat().st_size for page in pages)
    with Nginx(root, tmp_path, "add_header Cache-Control max-age=3600;") as nginx:
        with Node(site(nginx.port, store={"memory": f"{2 * size >> 20} MiB"})) as node:
            first = crawl(node.port, pages)
            assert len(first) == len(pages)
            eventually(lambda: nginx.requests() >= len(pages), "the origin's log")
            assert nginx.requests() == len(pages)
            assert {ours(response).get("fwd") for response in first.values()} == {"uri-miss"}
            middle = node.stats()
            assert middle["outcomes"]["miss"] == len(pages)
            assert middle["store"]["objects"] == len(pages)

            second = crawl(node.port, pages)
            assert len(second) == len(pages)
            assert [target for target, response in second.items() if "hit" not in ours(response)] == []
            after = node.stats()
        # Its log is in order: what came before a line of ours has been written when that line has.
        with RawClient(nginx.port) as direct:
            direct.ask("HEAD", "/?the-end")
        eventually(lambda: "/?the-end" in nginx.log(), "the origin's log")
        assert nginx.requests() == len(pages) + 1, "the origin was asked in the second pass"
        assert after["outcomes"]["hit"] - middle["outcomes"]["hit"] == len(pages)
        assert after["outcomes"]["miss"] == middle["outcomes"]["miss"]
        lane = after["lanes"]["hit"] - middle["lanes"]["hit"]
        assert lane >= 0.99 * len(pages), f"{lane} of {len(pages)} hits in the hit lane"
        print(f"\n{len(pages)} files, {size} bytes; hit lane {lane}; store {after['store']}")

        with RawClient(nginx.port, timeout=30) as direct:
            for page in pages[::10]:
                origin = direct.ask("HEAD", page.target)
                for response in (first[page.target], second[page.target]):
                    assert [response[name] for name in SAME] == [origin[name] for name in SAME]
    assert all("age" in response for response in second.values())
