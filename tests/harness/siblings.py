"""Several workers on one store, each a forked process with a port of its own: a test says who gets which client.

No supervisor: the test kills and reaps. Nothing here knows what an answer should be.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import tempfile
import time
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any
from unittest import mock

import uvloop

from cdn import config as cdn_config
from cdn.proxy.worker import Worker
from cdn.store import open_memory

from .client import RawClient
from .site import Tree, yaml_text
from .sync import PATIENCE, eventually


class Sibling:
    def __init__(self, pid: int, line: socket.socket) -> None:
        self.pid = pid
        self.line = line
        line.settimeout(PATIENCE)
        self.port = int(self._hear()["port"])

    def _hear(self) -> dict[str, Any]:
        data = b""
        while not data.endswith(b"\n"):
            more = self.line.recv(1 << 16)
            assert more, "the worker is gone"
            data += more
        out: dict[str, Any] = json.loads(data)
        assert "fault" not in out, out["fault"]
        return out

    def stats(self) -> dict[str, Any]:
        """The worker's counters; fails for any fault that it reported."""
        self.line.send(b"?")
        return self._hear()


class Siblings:
    def __init__(self, tree: Tree, count: int = 2) -> None:
        self._home = tempfile.TemporaryDirectory(prefix="cdn-test-")
        self._config = cdn_config.parse(yaml_text(tree), "test.yaml", Path(self._home.name))
        self.memory = open_memory(self._config.store)
        self._count = count
        self._clients: list[RawClient] = []
        self.workers: list[Sibling] = []

    def __enter__(self) -> Siblings:
        for number in range(self._count):
            ours, theirs = socket.socketpair()
            pid = os.fork()
            if pid == 0:
                ours.close()
                self._be(number, theirs)
            theirs.close()
            self.workers.append(Sibling(pid, ours))
        return self

    def _be(self, number: int, line: socket.socket) -> None:
        try:
            self.memory.attach(number)
            uvloop.install()
            asyncio.run(self._serve(line))
        except BaseException:
            line.send(json.dumps({"fault": traceback.format_exc()}).encode() + b"\n")
        finally:
            os._exit(0)

    async def _serve(self, line: socket.socket) -> None:
        faults: list[str] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: faults.append(repr(context)))

        def report(kind: str, sentence: str) -> None:
            if kind == "fault":
                faults.append(sentence)

        worker = Worker(self._config, report=report)
        with mock.patch("cdn.proxy.shared.open_memory", return_value=self.memory):
            await worker.start()
        ended = asyncio.Event()

        def asked() -> None:
            if not line.recv(1):
                ended.set()
            elif faults:
                line.send(json.dumps({"fault": faults}).encode() + b"\n")
            else:
                line.send(json.dumps(worker.stats()).encode() + b"\n")

        loop.add_reader(line, asked)
        line.send(json.dumps({"port": worker.ports[0]}).encode() + b"\n")
        await ended.wait()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                for worker in self.workers:
                    if worker.pid:
                        worker.stats()
        finally:
            for client in self._clients:
                client.close()
            for number, worker in enumerate(self.workers):
                if worker.pid:
                    self.kill(number)
                worker.line.close()
            self._home.cleanup()

    def client(self, number: int, **options: Any) -> RawClient:
        client = RawClient(self.workers[number].port, **options)
        self._clients.append(client)
        return client

    def waiting(self, number: int, count: int) -> None:
        """Return when that worker has so many exchanges under way."""
        eventually(lambda: self.workers[number].stats()["exchanges"] >= count)

    def kill(self, number: int) -> None:
        """kill -9, and what a supervisor does then."""
        worker = self.workers[number]
        os.kill(worker.pid, signal.SIGKILL)
        os.waitpid(worker.pid, 0)
        worker.pid = 0
        end = time.monotonic() + PATIENCE
        while not self.memory.reap(number):
            assert time.monotonic() < end
