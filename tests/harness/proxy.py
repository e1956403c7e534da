"""The proxy under test in this process: a worker on its own loop in its own thread, so that its clock can be
a fake one.

Leaving the block stops it within bounds and fails the test for what must never happen: an exception in the
loop, a traceback in the log, a worker that does not stop. Nothing here knows what an answer should be.
"""

from __future__ import annotations

import asyncio
import json
import logging
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import uvloop

from cdn import config as cdn_config
from cdn.control.access_log import AccessLogWriter
from cdn.proxy.clock import Clock, FakeClock
from cdn.proxy.worker import Worker

from .client import HOST, RawClient
from .site import Tree, yaml_text
from .sync import PATIENCE, Signal, eventually
from .wire import FieldsLike, Response


class _Tracebacks(logging.Handler):
    """Keeps what was logged with a traceback, or by asyncio as an error."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info or (record.levelno >= logging.ERROR and record.name == "asyncio"):
            self.seen.append(logging.Formatter().format(record))


class Proxy:
    """A running worker. `clock` is a FakeClock unless `real_clock`; only freshness follows it, timeouts stay
    real."""

    def __init__(self, tree: Tree, *, real_clock: bool = False, patience: float = PATIENCE) -> None:
        self.tree, self.patience = dict(tree), patience
        # whole seconds, so that a Date made from it has no rounding in it
        self.clock: Any = Clock() if real_clock else FakeClock(int(time.time()) * 1000)
        self._home = tempfile.TemporaryDirectory(prefix="cdn-test-")
        self.home = Path(self._home.name)
        self.log_path = self.home / "access.log"
        self.tree.setdefault("log", {"access": {"to": str(self.log_path), "format": "json"}})
        self._tracebacks = _Tracebacks()
        self._thread = threading.Thread(target=self._main, name="proxy", daemon=True)
        self._ready = Signal("the worker's start")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._worker: Any = None
        self._error: BaseException | None = None
        self.loop_errors: list[str] = []
        self._clients: list[RawClient] = []
        self.reports: list[tuple[str, str]] = []

    # -- life

    def _main(self) -> None:
        loop = uvloop.new_event_loop()
        asyncio.set_event_loop(loop)
        loop.set_exception_handler(
            lambda _loop, context: self.loop_errors.append(
                f"{context.get('message')}: {context.get('exception')!r}"
            )
        )
        self._loop = loop
        try:
            loop.run_until_complete(self._serve())
        except BaseException as error:
            self._error = error
        finally:
            self._ready.set()
            try:
                loop.run_until_complete(loop.shutdown_asyncgens())
                loop.run_until_complete(loop.shutdown_default_executor())
            finally:
                loop.close()

    async def _serve(self) -> None:
        self._stopping = asyncio.Event()
        parsed = cdn_config.parse(yaml_text(self.tree), "test.yaml", self.home)
        log = parsed.access_log
        sink = AccessLogWriter(log.to, log.format) if log is not None else None
        self._worker = Worker(parsed, self.clock, access_log=sink, report=self._report)
        try:
            await self._worker.start()
            self._ready.set()
            await self._stopping.wait()
            await self._worker.stop()
        finally:
            if sink is not None:
                sink.close()

    def _report(self, kind: str, sentence: str) -> None:
        """A line of the node's own log; a `fault` is a mistake of the proxy's own and fails the test."""
        self.reports.append((kind, sentence))

    def __enter__(self) -> Proxy:
        logging.getLogger().addHandler(self._tracebacks)
        self._thread.start()
        self._ready.wait()
        if self._error is not None:
            self._leave()
            raise self._error
        return self

    def _leave(self) -> None:
        for client in self._clients:
            client.close()
        if self._loop is not None and self._stopping is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(self.patience)
        logging.getLogger().removeHandler(self._tracebacks)
        self._home.cleanup()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()
        problems = [*self.loop_errors, *self._tracebacks.seen]
        problems += [sentence for kind, sentence in self.reports if kind == "fault"]
        problems = list(dict.fromkeys(problems))[:5]  # a fault in a loop is one fault
        if self._error is not None:
            problems.append(f"the worker ended with {self._error!r}")
        if self._thread.is_alive():
            problems.append(f"the worker did not stop within {self.patience:g} s")
        if error is not None:
            for problem in problems:
                error.add_note(f"and in the proxy: {problem}")
        elif problems:
            raise AssertionError("in the proxy: " + "\n".join(problems))

    # -- asking

    @property
    def ports(self) -> list[int]:
        return list(self._worker.ports)

    @property
    def port(self) -> int:
        return self.ports[0]

    def client(self, port: int | None = None, **options: Any) -> RawClient:
        """A new connection, closed with the proxy at the latest."""
        client = RawClient(self.port if port is None else port, **options)
        self._clients.append(client)
        return client

    def get(self, target: str = "/", fields: FieldsLike = None, *, host: str | None = HOST) -> Response:
        return self.ask("GET", target, fields, host=host)

    def ask(
        self,
        method: str = "GET",
        target: str = "/",
        fields: FieldsLike = None,
        body: bytes = b"",
        *,
        host: str | None = HOST,
    ) -> Response:
        """One request and its answer on a connection of its own."""
        with RawClient(self.port) as client:
            return client.ask(method, target, fields, body, host=host)

    # -- time

    def advance(self, seconds: float) -> None:
        self.clock.advance(int(seconds * 1000))

    def now(self) -> int:
        """Seconds since the epoch, as the proxy sees it."""
        return int(self.clock.now()) // 1000

    # -- watching

    def stats(self) -> dict[str, Any]:
        """The worker's counters, read on its own loop."""

        async def read() -> dict[str, Any]:
            return dict(self._worker.stats())

        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(read(), self._loop).result(self.patience)

    def settle(self) -> None:
        """Return when the proxy has read all that was sent before (a few round trips behind it, on new
        connections)."""
        for _ in range(3):
            self.get("/", host="nobody.invalid")

    @contextmanager
    def lanes(self, **expected: int) -> Iterator[None]:
        """The block moves the named lanes' counters by exactly so much: `with proxy.lanes(hit=1): ...`."""
        before = _counters(self.stats(), "lanes")
        yield

        def moved() -> dict[str, int]:
            after = _counters(self.stats(), "lanes")
            return {name: after.get(name, 0) - before.get(name, 0) for name in expected}

        self._expect_moved(moved, expected)

    @contextmanager
    def outcomes(self, **expected: int) -> Iterator[None]:
        """The block's requests get exactly these outcomes; `_` in a name stands for `-`, unnamed ones stay
        still."""
        wanted = {name.replace("_", "-"): count for name, count in expected.items()}
        before = _counters(self.stats(), "outcomes")
        yield

        def moved() -> dict[str, int]:
            after = _counters(self.stats(), "outcomes")
            return {name: after.get(name, 0) - before.get(name, 0) for name in wanted}

        self._expect_moved(moved, wanted)

    @staticmethod
    def _expect_moved(moved: Any, wanted: dict[str, int]) -> None:
        deadline = time.monotonic() + 2.0  # a counter may move just after the last byte left
        while (got := moved()) != wanted:
            assert time.monotonic() < deadline, f"counters: expected {wanted}, got {got}"
            time.sleep(0.01)

    def log(self, count: int = 0) -> list[dict[str, Any]]:
        """The access log so far; waits until it holds `count` lines."""

        def lines() -> list[str]:
            text = self.log_path.read_text() if self.log_path.exists() else ""
            return text[: text.rfind("\n") + 1].splitlines()  # a line that is being written is none yet

        if count:
            eventually(lambda: len(lines()) >= count, f"{count} lines in the access log")
        return [json.loads(line) for line in lines()]


def _counters(stats: dict[str, Any], group: str) -> dict[str, int]:
    return dict(stats[group])


def cache_status(response: Response) -> list[tuple[str, dict[str, str | bool]]]:
    """`Cache-Status` (RFC 9211) as (cache, parameters), the origin's side first; enough for what caches
    send."""
    members = []
    for member in (response["cache-status"] or "").split(","):
        if not member.strip():
            continue
        name, *rest = (part.strip() for part in member.split(";"))
        parameters: dict[str, str | bool] = {}
        for part in rest:
            key, equals, value = part.partition("=")
            parameters[key] = value.strip('"') if equals else True
        members.append((name.strip('"'), parameters))
    return members


def ours(response: Response) -> dict[str, str | bool]:
    """The parameters of our own member, which is the last one."""
    members = cache_status(response)
    assert members, f"no Cache-Status in {response!r}"
    assert members[-1][0] == "edge-1", members
    return members[-1][1]


def is_hit(response: Response) -> bool:
    return ours(response).get("hit") is True
