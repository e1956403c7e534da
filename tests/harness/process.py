"""The proxy under test as `cdn serve` in a process of its own: for signals, exit codes and kills.

Only the child started here is ever signalled. Its output goes to files, so that it never blocks on a full
pipe.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType

from .client import HOST, RawClient
from .site import Tree, yaml_text
from .sync import eventually
from .wire import FieldsLike, Response

LOWEST, SHARE = (
    20_000,
    1_500,
)  # below what Linux gives to connections; a share for each of eight processes


GIVEN: set[int] = set()  # a server that is yet to start does not hold its port


def free_port() -> int:
    """A port that was free a moment ago and that neither the kernel, another process nor another call gets."""
    first = LOWEST + SHARE * (int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 8)
    for port in random.sample(range(first, first + SHARE), SHARE):
        if port in GIVEN:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        GIVEN.add(port)
        return port
    raise AssertionError(f"no free port from {first} to {first + SHARE}")


ROOT = Path(__file__).resolve().parents[2]  # what is tested is this tree, installed or not


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "cdn", *arguments]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}


class Serve:
    """`cdn serve` on a configuration whose first listener's port is chosen here."""

    def __init__(self, tree: Tree, *, wait: bool = True, patience: float = 30.0) -> None:
        self.tree, self.wait_for_ready, self.patience = dict(tree), wait, patience
        self.port = free_port()
        if self.tree["listen"] == ["http://127.0.0.1:0"]:
            self.tree["listen"] = [f"http://127.0.0.1:{self.port}"]
        self._home = tempfile.TemporaryDirectory(prefix="cdn-serve-")
        self.home = Path(self._home.name)
        self.config = self.home / "site.yaml"
        self.child: subprocess.Popen[bytes] | None = None
        self._others: list[int] = []

    def __enter__(self) -> Serve:
        self.config.write_text(yaml_text(self.tree))
        with (self.home / "out").open("wb") as out, (self.home / "err").open("wb") as err:
            self.child = subprocess.Popen(
                self._command(),
                stdout=out,
                stderr=err,
                stdin=subprocess.DEVNULL,
                cwd=self.home,
                env=environment(),
            )
        if self.wait_for_ready:
            try:
                eventually(
                    self._reachable, f"cdn serve on port {self.port}; {self.stderr}", self.patience, 0.05
                )
            except BaseException:
                self._end()
                raise
        return self

    def _command(self) -> list[str]:
        return command("serve", str(self.config))

    def _reachable(self) -> bool:
        assert self.child is not None
        assert self.child.poll() is None, f"cdn serve ended with {self.child.returncode}: {self.stderr}"
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    @property
    def pid(self) -> int:
        assert self.child is not None
        return self.child.pid

    @property
    def stdout(self) -> str:
        return (self.home / "out").read_text(errors="replace")

    @property
    def stderr(self) -> str:
        return (self.home / "err").read_text(errors="replace")

    def signal(self, number: signal.Signals) -> None:
        assert self.child is not None
        self._others = self.others
        self.child.send_signal(number)

    @property
    def others(self) -> list[int]:
        """The process ids of the workers and of the control process."""
        return _children(self.pid)

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code."""
        assert self.child is not None
        try:
            code = self.child.wait(self.patience if timeout is None else timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"cdn serve still runs; stderr: {self.stderr}") from None
        eventually(
            lambda: not [pid for pid in self._others if _alive(pid)], "the node's processes to be gone", 1
        )
        return code

    def resident(self) -> int:
        """Resident bytes of the process and its children, once all of these have loaded what they need."""
        eventually(
            lambda: all(map(_has_loop, _children(self.pid))), "the node's processes to run their loops"
        )
        return sum(_resident(pid) for pid in (self.pid, *_children(self.pid)))

    def get(self, target: str = "/", fields: FieldsLike = None, *, host: str | None = HOST) -> Response:
        with RawClient(self.port) as client:
            return client.get(target, fields, host=host)

    def _end(self) -> None:
        if self.child is not None and self.child.poll() is None:
            self.child.terminate()
            deadline = time.monotonic() + 5
            while self.child.poll() is None and time.monotonic() < deadline:
                time.sleep(0.02)
            if self.child.poll() is None:
                self.child.kill()
                self.child.wait(5)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()
        stderr = self.stderr
        self._home.cleanup()
        if error is not None:
            error.add_note(f"cdn serve said: {stderr[-2000:]}")
        elif "Traceback" in stderr:
            raise AssertionError(f"a traceback from cdn serve: {stderr[-4000:]}")


def _has_loop(pid: int) -> bool:
    try:
        return any("eventpoll" in os.readlink(fd.path) for fd in os.scandir(f"/proc/{pid}/fd"))
    except OSError:  # a descriptor, or the process, has gone meanwhile
        return False


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _alive(pid: int) -> bool:
    """Whether any thread still runs: a killed process whose first thread has ended holds its sockets until the last
    one has."""
    for stat in Path(f"/proc/{pid}/task").glob("*/stat"):
        try:
            if stat.read_text().rpartition(")")[2].split()[0] not in "ZX":
                return True
        except OSError:
            continue
    return False


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
    except OSError:
        return 0


def run(*arguments: str, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
    """A `cdn` command that ends by itself."""
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=timeout, check=False, env=environment()
    )
