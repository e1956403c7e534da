"""A folder as the origin of a running proxy: a real documentation tree, hits, ranges, a deploy in between."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

import pytest

from ..harness import RawClient, site
from ..harness.proxy import Proxy, ours
from ..harness.site import Tree
from ..peers import need_folder
from .test_site_crawl import files

pytestmark = pytest.mark.real

FOLDER, PACKAGE = "/usr/share/doc/python3-doc/html", "python3-doc"


def folder(root: Path, **more: object) -> Tree:
    return {**site(1, **more), "origins": {"app": {"directory": str(root)}}}  # type: ignore[arg-type]


def test_a_documentation_tree_twice() -> None:
    root = need_folder(FOLDER, PACKAGE)
    real = os.path.realpath(root)
    with (
        Proxy(folder(root, store={"memory": "96 MiB"}, cache={"ttl": "1h"})) as proxy,
        proxy.client() as client,
    ):
        inside = 0
        for path in sorted(files(root)):
            target = "/" + quote(str(path.relative_to(root)))
            response = client.get(target)
            if path.name.startswith(".") or not os.path.realpath(path).startswith(real + "/"):
                assert response.status == 404, f"{target} is hidden or leads out of the folder"
                continue
            inside += 1
            assert (response.status, response.body) == (200, path.read_bytes()), target
            assert ours(response).get("fwd") == "uri-miss"
            again = client.get(target)
            assert (again.status, again.body) == (200, response.body), target
            assert ours(again).get("hit") is True
        assert inside >= 500


def test_ranges_conditions_and_methods(tmp_path: Path) -> None:
    (tmp_path / "data.bin").write_bytes(bytes(range(256)) * 4096)
    with Proxy(folder(tmp_path, cache={"ttl": "1h"})) as proxy, proxy.client() as client:
        part = client.get("/data.bin", {"Range": "bytes=300-309"})
        assert (part.status, part.body) == (206, bytes(range(44, 54)))
        whole = client.get("/data.bin")
        assert whole.body == bytes(range(256)) * 4096
        same = client.get("/data.bin", {"If-None-Match": whole["ETag"] or ""})
        assert same.status == 304
        assert client.ask("POST", "/data.bin", body=b"x" * 10).status == 405
        assert client.get("/nothing").status == 404
        assert client.get("/%2e%2e/%2e%2e/etc/passwd").status == 404


def test_a_deploy_shows_after_the_lifetime_and_costs_a_304_where_nothing_changed(tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("one")
        os.utime(tmp_path / name, (1_700_000_000, 1_700_000_000))
    (tmp_path / "_headers").write_text("/*\n  Cache-Control: max-age=60\n")
    with Proxy(folder(tmp_path)) as proxy, proxy.client() as client:
        assert client.get("/a.txt").body == client.get("/b.txt").body == b"one"
        new = tmp_path / "new"
        new.write_text("two")
        new.rename(tmp_path / "a.txt")
        assert client.get("/a.txt").body == b"one"
        proxy.clock.advance(61_000)
        assert client.get("/a.txt").body == b"two"
        kept = client.get("/b.txt")
        assert kept.body == b"one"
        assert ours(kept).get("fwd-status") == "304"


def test_the_folder_is_gone_and_stale_copies_help(tmp_path: Path) -> None:
    root = tmp_path / "public"
    root.mkdir()
    (root / "a.txt").write_text("one")
    with Proxy(folder(root, cache={"ttl": "1m"})) as proxy, proxy.client() as client:
        assert client.get("/a.txt").body == b"one"
        root.rename(tmp_path / "away")
        proxy.clock.advance(61_000)
        assert client.get("/a.txt").body == b"one"
        assert client.get("/b.txt").status == 502
        assert any("cannot be read" in sentence for _, sentence in proxy.reports)


def test_wrong_lines_of_the_headers_file_are_said_once(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one")
    (tmp_path / "_headers").write_text("/*\n  Content-Length: 7\n  X-Frame-Options: DENY\n")
    with Proxy(folder(tmp_path)) as proxy, RawClient(proxy.port) as client:
        for name in ("a", "b", "c"):
            response = client.get(f"/a.txt?{name}")
            assert (response.body, response["X-Frame-Options"]) == (b"one", "DENY")
        told = [sentence for kind, sentence in proxy.reports if kind == "headers-file"]
        assert len(told) == 1
        assert "line 2: Content-Length" in told[0]
