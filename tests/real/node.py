"""`cdn serve` with an admin listener, and the figures that a test reads from it and about it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..harness.client import RawClient
from ..harness.process import Serve, free_port
from ..harness.site import Tree


class Node(Serve):
    """A node in a process of its own. `port` is that of its first listener, instead of a free one."""

    def __init__(self, tree: Tree, *, port: int | None = None, wait: bool = True) -> None:
        port, self.admin = port or free_port(), free_port()
        tree = {**tree, "admin": {"listen": f"http://127.0.0.1:{self.admin}"}}
        if tree["listen"] == ["http://127.0.0.1:0"]:
            tree["listen"] = [f"http://127.0.0.1:{port}"]
        super().__init__(tree, wait=wait, patience=40)
        self.port = port

    def __enter__(self) -> Node:
        super().__enter__()
        return self

    def stats(self) -> dict[str, Any]:
        """What `/v1/stats` says."""
        with RawClient(self.admin) as client:
            found: dict[str, Any] = json.loads(client.get("/v1/stats", host=f"127.0.0.1:{self.admin}").body)
        return found

    def memory(self, figure: str) -> int:
        """Bytes of one line of the kernel's account of all processes of the node: `Rss`, or `Anonymous`, which leaves
        out the store (a shared mapping) and the program's text.
        """
        return sum(_memory(pid, figure) for pid in (self.pid, *self.others))


def _memory(pid: int, figure: str) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == figure:
            return int(value.split()[0]) * 1024
    raise AssertionError(f"no {figure} in smaps_rollup")
