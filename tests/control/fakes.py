"""A worker and a node that only count: for what `control` decides by itself."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from cdn.config.values import Address, Admin
from cdn.control.admin import AdminServer
from cdn.control.log import NodeLog
from cdn.control.node import Reached
from cdn.control.purge_request import PurgeRequest
from cdn.proxy.listening import bind
from cdn.rules.outcome import NoStoreReason, Outcome

STATS: dict[str, Any] = {
    "outcomes": {outcome.value: 10 * n for n, outcome in enumerate(Outcome)},
    "lanes": {"hit": 90, "general": 30, "fill": 0, "tunnel": 1},
    "no_store": {reason.value: n for n, reason in enumerate(NoStoreReason)},
    "statuses": {"2xx": 100, "3xx": 10, "4xx": 9},
    "origins": {"app": {"requests": 40, "errors": 2, "bytes": 123456}, 'od"d\\\n': {"requests": 1}},
    "latency_ms": {"bounds": [1, 5, 10], "counts": [5, 3, 1, 2], "sum_seconds": 1.5},
    "connections": {"open": 7, "accepted": 31, "refused": 0},
    "store": {"used": 5 << 20, "size": 256 << 20, "objects": 12, "evictions": 3, "lookups": {"found": 4}},
    "body_bytes": 999,
    "uptime_ms": 61_000,
    "ready": True,
}


@dataclass
class FakeNode:
    name: str = "edge-1"
    ready: bool = True
    purges: list[tuple[list[str], bool, bool]] = field(default_factory=list)
    named: list[tuple[list[str], list[str], list[str]]] = field(default_factory=list)
    counters: dict[str, Any] = field(default_factory=lambda: dict(STATS))
    fault: Exception | None = None

    async def stats(self) -> Mapping[str, Any]:
        if self.fault is not None:
            raise self.fault
        return self.counters

    async def purge(self, wanted: PurgeRequest) -> Reached:
        if any("unknown.example" in url for url in wanted.urls):
            raise ValueError("http://unknown.example/ matches no route")
        self.purges.append((list(wanted.urls), wanted.all, wanted.soft))
        self.named.append((list(wanted.tags), list(wanted.prefixes), list(wanted.hosts)))
        return Reached(42 if wanted.all else len(wanted.urls))

    async def explain(self, url: str, fields: list[tuple[str, str]]) -> Mapping[str, Any]:
        if "://" not in url:
            raise ValueError(f"not an absolute URL: {url!r}")
        return {"url": url, "fields": dict(fields), "route": 0}


@dataclass
class Answer:
    status: int
    fields: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class RunningAdmin:
    port: int
    node: FakeNode
    lines: list[bytes]

    def ask(self, method: str, path: str, body: bytes | None = None, **fields: str | None) -> Answer:
        """One request; a field given as None is left out, `_` in a name is `-`."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.putrequest(method, path, skip_host="Host" in fields, skip_accept_encoding=True)
            for name, value in fields.items():
                if value is not None:
                    connection.putheader(name.replace("_", "-"), value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()

    def post(self, path: str, value: Any, **fields: str | None) -> Answer:
        fields.setdefault("Content_Type", "application/json")
        return self.ask("POST", path, json.dumps(value).encode(), **fields)


@contextlib.contextmanager
def running_admin(
    node: FakeNode | None = None, *, token_env: str | None = None, host: str = "127.0.0.1"
) -> Iterator[RunningAdmin]:
    """The real admin listener on an ephemeral port, in a loop and thread of its own."""
    node = node or FakeNode()
    lines: list[bytes] = []
    loop = asyncio.new_event_loop()
    address = Address("http", host, 0)
    sockets = bind(address)
    server = AdminServer(Admin(address, token_env), node, NodeLog(lines.append))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(server.start(sockets), loop).result(10)
        yield RunningAdmin(sockets[0].getsockname()[1], node, lines)
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
