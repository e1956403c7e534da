"""A worker's process: one event loop around one worker, its access log, and the lines to the rest of the node.

Decides what an order of the supervisor means here, and in which order things end. How a byte is served is the worker's.
"""

from __future__ import annotations

import asyncio
import gc
import os
import socket
from collections.abc import Callable, Mapping
from typing import Any

from cdn.config.values import Config
from cdn.control.access_log import AccessLogWriter
from cdn.control.figures import process_figures
from cdn.control.lines import Answerer, Line, LineEnd
from cdn.control.log import NodeLog, describe, loop_exception_handler
from cdn.control.preflight import explain_bind_error
from cdn.control.seams import WorkerFactory, WorkerSeam
from cdn.proxy.listening import BindError
from cdn.proxy.shared import Shared
from cdn.store import StoreError

FAILED = 1
CUT = 1


class WorkerProcess:
    """`orders` is the line to the supervisor."""

    def __init__(
        self, config: Config, shared: Shared, factory: WorkerFactory, orders: Line, log: NodeLog
    ) -> None:
        self._config = config
        self._shared = shared
        self._factory = factory
        self._orders = orders
        self._log = log
        self._access: AccessLogWriter | None = None
        self._answerer: Answerer | None = None
        self._waiting: socket.socket | None = None  # for an answerer, until the worker has started
        self._leave = asyncio.Event()
        self._leave_now = asyncio.Event()
        self._seconds = 0.0
        self._functions: dict[str, Callable[..., Any]] = {}  # none until the worker has started

    async def run(self) -> int:
        """Serves until it is told to end. 0: everything under way had ended, 1: something was cut, or it failed."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(loop_exception_handler(self._log))
        loop.add_reader(self._orders.fileno(), self._hear)
        try:
            if self._config.access_log is not None:
                log = self._config.access_log
                self._access = AccessLogWriter(log.to, log.format, on_trouble=self._log_trouble)
            worker = self._factory(self._config, self._shared, self._access, self._log.event)
            await worker.start()
        except Exception as error:
            self._tell({"say": "failed", "why": why(error)})
            return FAILED
        self._functions = {
            "stats": lambda: self._stats(worker),
            "prepare": worker.prepare,
            "adopt": worker.adopt,
            "discard": worker.discard,
            "reopen": self._reopen,
            "equivalent_keys": worker.equivalent_keys,
            "drop": worker.drop,
            "explain": worker.explain,
        }
        gc.collect()
        gc.freeze()  # what exists by now stays: no collection has to walk it again
        self._tell({"say": "ready"})
        self._answer()
        await self._leave.wait()
        clean = await self._drain_out(worker)
        if self._answerer is not None:
            await self._answerer.close()
        await worker.stop()
        if self._access is not None and not await asyncio.to_thread(self._access.close):
            self._log.say("the access log's reader is stuck: its last lines are lost")
        return 0 if clean else CUT

    async def _drain_out(self, worker: WorkerSeam) -> bool:
        drain = asyncio.create_task(worker.drain(self._seconds))
        now = asyncio.create_task(self._leave_now.wait())
        await asyncio.wait((drain, now), return_when=asyncio.FIRST_COMPLETED)
        clean = False
        if drain.done():
            error = drain.exception()
            if error is not None:
                self._log.say(f"drain: {describe(error)}")
            clean = error is None and drain.result()
        drain.cancel()
        now.cancel()
        return clean

    # Orders

    def _hear(self) -> None:
        try:
            messages = self._orders.receive()
        except LineEnd:
            os._exit(CUT)  # the supervisor is gone: nobody may serve beside the next one
        for message, fd in messages:
            match message["do"]:
                case "answer" if fd is not None:
                    if self._waiting is not None:
                        self._waiting.close()
                    self._waiting = socket.socket(fileno=fd)
                    self._answer()
                case "drain":
                    self._seconds = message["seconds"]
                    self._leave.set()
                case "leave":
                    self._leave.set()
                    self._leave_now.set()

    def _answer(self) -> None:
        """Answer the control process there is now; the line to an earlier one ends by itself."""
        if self._waiting is not None and self._functions:
            self._answerer = Answerer(self._waiting, self._functions)
            self._waiting = None

    def _tell(self, message: dict[str, Any]) -> None:
        try:
            self._orders.send(message)
        except LineEnd:
            os._exit(CUT)

    # Answers

    def _stats(self, worker: WorkerSeam) -> Mapping[str, Any]:
        counters = dict(worker.stats())
        if self._access is not None:
            counters["access_log"] = self._access.counters()
        counters["log_events"] = self._log.counts()
        counters["process"] = process_figures()
        return counters

    def _reopen(self, to: str | None) -> None:
        if self._access is not None:
            self._access.reopen(to)

    def _log_trouble(self, sentence: str) -> None:
        self._log.event("access-log", f"access log: {sentence}", "warning")


def why(error: Exception) -> str:
    """Why a process could not start, in one sentence."""
    if isinstance(error, BindError):
        return explain_bind_error(error.address, error)
    if isinstance(error, (StoreError, ValueError)):
        return str(error)
    return f"cannot start: {describe(error)}"
