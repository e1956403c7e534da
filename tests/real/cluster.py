"""Edges, shields, servers of one origin and a broker, each in processes of its own, and a bad network between them.

Parts are named `edge-1`, `shield-2`, `origin-1`, …, `broker`. Each has a relay in front of it: clients come to an edge
by `doors`. Nothing here judges what the parts answer.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Any

from ..harness import HOST
from ..harness.process import ROOT, environment, free_port
from ..harness.sync import eventually
from .broker import Broker
from .node import Node
from .relay import Relay

SECRET = "CDN_TEST_SHIELD"
EJECT = {"failures": 3, "pause": "500ms", "longest": "1s", "slow_return": "500ms"}
# An edge is more patient with a shield than a shield with two servers of an origin.
ORIGIN_TIMEOUTS = {"connect": "500ms", "first_byte": "1s", "between_bytes": "1s"}
SHIELD_TIMEOUTS = {"connect": "500ms", "first_byte": "2500ms", "between_bytes": "1s"}


class Server:
    """A server of the origin: `tests.real.versions`."""

    def __init__(self) -> None:
        self.port = free_port()
        self.child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.child = subprocess.Popen(
            [sys.executable, "-m", "tests.real.versions", str(self.port)], cwd=ROOT, env=environment()
        )

    @property
    def pids(self) -> list[int]:
        assert self.child is not None
        return [self.child.pid]

    def kill(self) -> None:
        if self.child is not None:
            self.child.kill()
            self.child.wait(10)


class Member:
    """A node that can be killed and started again on its port."""

    def __init__(self, tree: dict[str, Any]) -> None:
        self.tree, self.port = tree, free_port()
        self.node: Node | None = None

    def start(self) -> None:
        self.node = Node(self.tree, port=self.port, wait=False)
        self.node.__enter__()

    @property
    def pids(self) -> list[int]:
        assert self.node is not None
        return [self.node.pid, *self.node.others]

    def kill(self) -> None:
        if self.node is None:
            return
        node, self.node = self.node, None
        for pid in (node.pid, *node.others):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        node.wait(10)
        node.__exit__(None, None, None)


class Bus:
    """The broker of the nodes' bus; what it has stored outlives a kill."""

    def __init__(self) -> None:
        self.broker = Broker()

    @property
    def port(self) -> int:
        return self.broker.port

    def start(self) -> None:
        self.broker.start()

    @property
    def pids(self) -> list[int]:
        assert self.broker.child is not None
        return [self.broker.child.pid]

    def kill(self) -> None:
        self.broker.stop(signal.SIGKILL)


Part = Server | Member | Bus


class Cluster:
    def __init__(self, count: int = 2) -> None:
        self._stack = ExitStack()
        self.bus = Bus()
        self.servers = [Server() for _ in range(count)]
        self.relays: dict[str, Relay] = {}
        self.parts: dict[str, Part] = {}
        self._put("broker", self.bus)
        for number, server in enumerate(self.servers, 1):
            self._put(f"origin-{number}", server)
        self.shields = [Member(self._tree(f"shield-{n}", "shield")) for n in range(1, count + 1)]
        for number, member in enumerate(self.shields, 1):
            self._put(f"shield-{number}", member)
        self.edges = [Member(self._tree(f"edge-{n}", "edge")) for n in range(1, count + 1)]
        for number, member in enumerate(self.edges, 1):
            self._put(f"edge-{number}", member)

    @property
    def doors(self) -> list[int]:
        """The ports by which clients come to the edges."""
        return [self.relays[name].port for name in self.relays if name.startswith("edge")]

    def _put(self, name: str, part: Part) -> None:
        self.parts[name] = part
        self.relays[name] = Relay(part.port, free_port())

    def url(self, name: str) -> str:
        """By which those who ask a shield or a server know it."""
        return f"http://127.0.0.1:{self.relays[name].port}"

    def _urls(self, kind: str) -> list[str]:
        return [self.url(name) for name in self.relays if name.startswith(kind)]

    @property
    def nodes(self) -> list[Node]:
        """Those that run, shields first."""
        return [member.node for member in (*self.shields, *self.edges) if member.node is not None]

    def seen(self, name: str) -> list[dict[str, Any]]:
        """What each node that asks this shield or server knows of it."""
        if name.startswith("shield"):
            pools = [member.node.stats()["shields"] for member in self.edges if member.node is not None]
        else:
            pools = [node.stats()["origins"]["app"] for node in self.nodes]
        return [pool["servers"][self.url(name)] for pool in pools]

    def _tree(self, name: str, tier: str) -> dict[str, Any]:
        retry = {"tries": 3, "within": "3s"}
        origin = {"timeouts": ORIGIN_TIMEOUTS, "eject": EJECT, "retry": retry}
        route = {"match": {"host": [HOST], "path": "/off/*"}, "origin": "app", "cache": "off"}
        tree: dict[str, Any] = {
            "node": {"name": name, "tier": tier},
            "workers": 1,
            "listen": ["http://127.0.0.1:0"],
            "store": {"memory": "32 MiB"},
            "bus": {"servers": [f"nats://127.0.0.1:{self.relays['broker'].port}"], "wait": "10s"},
            "origins": {"app": {"servers": self._urls("origin"), **origin}},
            "routes": [route, {"match": {"host": [HOST], "path": "/*"}, "origin": "app"}],
        }
        if tier == "shield":
            tree["edges"] = {"secret_env": SECRET}
        else:
            tree["shields"] = {
                "servers": self._urls("shield"),
                "secret_env": SECRET,
                "timeouts": SHIELD_TIMEOUTS,
                "eject": EJECT,
                "retry": {"tries": 2, "within": "3s"},
            }
        return tree

    def __enter__(self) -> Cluster:
        try:
            for relay in self.relays.values():
                self._stack.enter_context(relay)
            for part in self.parts.values():
                part.start()
                self._stack.callback(part.kill)
            for part in self.parts.values():
                self._await(part)
        except BaseException:
            self._stack.close()
            raise
        return self

    @staticmethod
    def _await(part: Part) -> None:
        if isinstance(part, Member):
            assert part.node is not None
            eventually(part.node._reachable, f"a node on port {part.port}", 20, 0.05)
        elif isinstance(part, Server):
            eventually(lambda: _listens(part.port), f"a server on port {part.port}", 20, 0.05)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def harm(self, name: str, how: str) -> None:
        """`kill`, `stall` (SIGSTOP of all its processes), `restart` (at once), or a mode of its relay."""
        part = self.parts[name]
        if how == "kill":
            part.kill()
            self.relays[name].close()
        elif how == "stall":
            for pid in part.pids:
                os.kill(pid, signal.SIGSTOP)
        elif how == "restart":
            part.kill()
            part.start()
        else:
            self.relays[name].mode(how)

    def heal(self, name: str, how: str) -> None:
        """Bring it back; ends when its port takes connections."""
        part = self.parts[name]
        if how == "kill":
            part.start()
            self._await(part)
            self.relays[name].listen()
        elif how == "stall":
            for pid in part.pids:
                os.kill(pid, signal.SIGCONT)
        elif how != "restart":
            self.relays[name].mode("pass")


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
