"""A disk that fails when a node starts: it serves without one, says so once, and nothing purged comes back."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..harness import HOST, Origin, RawClient, site
from ..harness.mounting import fill, make_read_only, mounted
from ..harness.proxy import is_hit
from ..harness.site import Tree
from .node import Node

SIZE = "64m"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own."""
    with mounted(tmp_path / "mounted", SIZE) as target:
        yield target


def on_disk(origin: Origin, path: Path) -> Tree:
    disk = {"path": str(path), "size": "48 MiB", "write_delay": "20ms"}
    return site(origin, workers=1, store={"memory": "16 MiB", "disk": disk})


def metric(node: Node, name: str) -> float:
    with RawClient(node.admin) as client:
        text = client.get("/metrics", host=f"127.0.0.1:{node.admin}").body.decode()
    return next(float(line.split()[1]) for line in text.splitlines() if line.startswith(name + " "))


def purge(node: Node, target: str) -> int:
    body = json.dumps({"urls": [f"http://{HOST}{target}"]}).encode()
    fields = {"Content-Type": "application/json"}
    with RawClient(node.admin) as client:
        return client.ask("POST", "/v1/purge", fields, body, host=f"127.0.0.1:{node.admin}").status


def serves_without(node: Node, why: str) -> None:
    assert not is_hit(node.get("/a"))
    assert is_hit(node.get("/a"))
    assert metric(node, "cdn_disk_failing") == 1
    said = [line for line in node.stderr.splitlines() if "store.disk.path" in line]
    assert len(said) == 1
    assert why in said[0]
    assert "serving goes on without it" in said[0]


def test_full(origin: Origin, folder: Path) -> None:
    with pytest.raises(OSError, match="No space left"):
        fill(folder / "ballast")
    with Node(on_disk(origin, folder / "cache")) as node:
        serves_without(node, "No space left on device")
        assert purge(node, "/a") == 200  # nothing is there that could come back
    (folder / "ballast").unlink()
    with Node(on_disk(origin, folder / "cache")) as node:
        node.get("/a")
        assert metric(node, "cdn_disk_failing") == 0


def test_read_only_and_new(origin: Origin, folder: Path) -> None:
    make_read_only(folder, SIZE)
    with Node(on_disk(origin, folder / "cache")) as node:
        serves_without(node, "Read-only file system")


def test_read_only_with_a_cache(origin: Origin, folder: Path) -> None:
    """What is there is used; what is purged cannot be made durable, and whoever purges is told."""
    with Node(on_disk(origin, folder / "cache")) as node:
        for target in ("/a", "/b"):
            node.get(target)
    make_read_only(folder, SIZE)
    with Node(on_disk(origin, folder / "cache")) as node:
        assert is_hit(node.get("/a"))
        assert purge(node, "/a") == 503
        assert not is_hit(node.get("/a"))
        assert is_hit(node.get("/b"))


def test_another_format_is_refused_all_the_same(origin: Origin, folder: Path) -> None:
    with Node(on_disk(origin, folder / "cache")) as node:
        node.get("/a")
    (folder / "cache" / "format").write_bytes(b"cdn disk cache\nformat 1\nsegment 4194304\n")
    with Node(on_disk(origin, folder / "cache"), wait=False) as node:
        assert node.wait() == 2
        assert node.stderr.splitlines()[-1] == (
            f"cdn serve: store.disk.path: {folder}/cache is of format 1, and this program writes format 2: "
            "empty the folder, or name another"
        )


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "a purge"])
def test_what_is_invalidated_stays_so(origin: Origin, tmp_path: Path, method: str) -> None:
    """Killed as soon as the answer is there; with a write delay in which nothing else would have been written."""
    tree = on_disk(origin, tmp_path / "cache")
    with Node(tree) as node:
        for target in ("/a", "/b"):
            node.get(target)
    tree["store"]["disk"]["write_delay"] = "60s"
    with Node(tree) as node:
        assert is_hit(node.get("/a"))
        processes = (node.pid, *node.others)
        if method == "a purge":
            assert purge(node, "/a") == 200
        else:
            with RawClient(node.port) as client:
                assert client.ask(method, "/a", {}, b"new" if method != "DELETE" else b"").status == 200
        for pid in processes:
            os.kill(pid, signal.SIGKILL)
        node.wait()
    with Node(tree) as node:
        assert not is_hit(node.get("/a"))
        assert is_hit(node.get("/b"))
