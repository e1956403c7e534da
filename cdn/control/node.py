"""One node in the foreground: a worker, its access log and its admin listener, from the first signal to the
last.

SIGHUP reads the configuration again and opens the access log anew; SIGTERM and SIGINT drain, and a second
one leaves at once. How a byte is served is the worker's alone; this file sees it through the seam.
"""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from cdn import __version__
from cdn.config.values import Config
from cdn.control.access_log import AccessLogWriter
from cdn.control.admin import AdminServer
from cdn.control.log import NodeLog, describe, loop_exception_handler, one_line
from cdn.control.preflight import admin_token, explain_bind_error
from cdn.control.seams import WorkerFactory, WorkerSeam
from cdn.store.opening import StoreError

SPARE_FILES = 256  # descriptors beside one per client connection

_NEEDS_RESTART = ("listen", "admin", "workers", "store", "node")


class CannotStartError(Exception):
    """The node cannot start; one sentence with the way out."""


class Node:
    """Runs `config` with the worker that `factory` makes; `read_config` gives the configuration anew for a
    reload.

    `read_config` raises ValueError with one line when the file cannot be used.
    """

    def __init__(
        self,
        config: Config,
        factory: WorkerFactory,
        log: NodeLog,
        *,
        read_config: Callable[[], Config] | None = None,
        drain: float | None = None,
    ) -> None:
        self.config = config
        self.name = config.node.name
        self.ready = False
        self.worker: WorkerSeam | None = None
        self.admin: AdminServer | None = None
        self._factory = factory
        self._log = log
        self._read_config = read_config
        self._drain = drain  # seconds; None: as the configuration says
        self._access: AccessLogWriter | None = None
        self._started = time.monotonic()
        self._signals = 0
        self._leave = asyncio.Event()
        self._leave_now = asyncio.Event()
        self._reload_wanted = asyncio.Event()
        self._purges = {"requests": 0, "reached": 0}
        self._reloads = {"done": 0, "refused": 0}

    async def run(self, started: Callable[[], None] | None = None) -> int:
        """Serves until a signal; the exit code is 0 after a drain that finished, 1 when connections were
        cut.
        """
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(loop_exception_handler(self._log))
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.leave)
        loop.add_signal_handler(signal.SIGHUP, self._reload_wanted.set)
        try:
            await self.start()
            if started is not None:
                started()
            reloads = asyncio.create_task(self._reload_when_wanted())
            await self._leave.wait()
            reloads.cancel()
            clean = await self._drain_out()
            self._log.say("ended" if clean else "ended; connections that were not finished are cut")
            return 0 if clean else 1
        finally:
            await self.close()

    def leave(self) -> None:
        """What SIGTERM and SIGINT do: the first call drains, the second leaves at once."""
        self._signals += 1
        (self._leave if self._signals == 1 else self._leave_now).set()

    async def start(self) -> None:
        """Everything up and announced, or CannotStartError and nothing left behind."""
        config = self.config
        raise_file_limit(config.limits.connections + SPARE_FILES, self._log)
        if config.access_log is not None:
            try:
                self._access = AccessLogWriter(
                    config.access_log.to, config.access_log.format, on_trouble=self._log_trouble
                )
            except OSError as error:
                raise CannotStartError(
                    f"log: cannot open {config.access_log.to}: {error.strerror}"
                ) from error
        worker = self._factory(config, self._access, self._log.event)
        try:
            await worker.start()
        except OSError as error:
            address = getattr(error, "address", None)
            if address is None and len(config.listen) == 1:
                address = config.listen[0].address
            sentence = explain_bind_error(address, error) if address else f"cannot start: {describe(error)}"
            raise CannotStartError(sentence) from error
        except StoreError as error:
            raise CannotStartError(str(error)) from error
        self.worker = worker
        self._log.say(f"cdn {__version__}: node {self.name}, process {os.getpid()}")
        for listener, port in zip(config.listen, worker.ports, strict=True):
            self._log.say(f"listening on {replace(listener.address, port=port)}")
        if config.workers is None or config.workers > 1:
            asked = "auto" if config.workers is None else str(config.workers)
            self._log.say(f"workers: {asked}: runs one worker until the store is shared by several")
        await self._start_admin()
        gc.collect()
        gc.freeze()  # what exists by now stays: no collection has to walk it again
        self.ready = True

    async def close(self) -> None:
        """Ends what is running; what the log still holds is written out within a bound."""
        self.ready = False
        if self.admin is not None:
            await self.admin.stop()
            self.admin = None
        if self.worker is not None:
            await self.worker.stop()
        if self._access is not None and not self._access.close():
            self._log.say("the access log's reader is stuck: its last lines are lost")
        self._log.flush()

    # What the admin listener asks

    def stats(self) -> Mapping[str, Any]:
        """The worker's counters and the node's own."""
        all_counters: dict[str, Any] = dict(self.worker.stats()) if self.worker is not None else {}
        all_counters["uptime_ms"] = int((time.monotonic() - self._started) * 1000)
        all_counters["ready"] = self.ready
        if self._access is not None:
            all_counters["access_log"] = self._access.counters()
        all_counters["log_events"] = self._log.counts()
        all_counters["purges"] = dict(self._purges)
        all_counters["reloads"] = dict(self._reloads)
        all_counters["process"] = process_figures()
        return all_counters

    def purge(
        self,
        urls: list[str],
        all: bool,
        soft: bool,
        tags: Sequence[str] = (),
        prefixes: Sequence[str] = (),
        hosts: Sequence[str] = (),
    ) -> int:
        worker = self._running()
        reached = worker.purge(urls, all, soft, tags, prefixes, hosts)
        self._purges["requests"] += 1
        self._purges["reached"] += reached
        return reached

    def explain(self, url: str, fields: list[tuple[str, str]]) -> Mapping[str, Any]:
        return self._running().explain(url, fields)

    def _running(self) -> WorkerSeam:
        if self.worker is None:
            raise ValueError("the node has not started yet")
        return self.worker

    # Reload

    async def reload(self) -> bool:
        """Takes the configuration file as it is now; a bad one changes nothing and is one line in the log."""
        if self._access is not None:
            self._access.reopen()
        if self._read_config is None:
            return False
        try:
            fresh = await asyncio.to_thread(self._read_config)
            merged, left = merge(self.config, fresh)
            self._running().reload(merged)
        except ValueError as error:
            self._reloads["refused"] += 1
            self._log.say(one_line(f"reload: {error}; the old configuration stays", 600))
            return False
        except Exception as error:
            self._reloads["refused"] += 1
            self._log.say(one_line(f"reload: {describe(error)}; the old configuration stays", 600))
            return False
        if self._access is not None and merged.access_log is not None:
            old = self.config.access_log
            if old is not None and old.to != merged.access_log.to:
                self._access.reopen(merged.access_log.to)
        self.config = merged
        self._reloads["done"] += 1
        later = f"; {', '.join(left)} as before until the next start" if left else ""
        self._log.say(f"reloaded {self.config.source or 'the configuration'}{later}")
        return True

    async def _reload_when_wanted(self) -> None:
        while True:
            await self._reload_wanted.wait()
            self._reload_wanted.clear()
            await self.reload()

    # Start and end

    async def _start_admin(self) -> None:
        admin = self.config.admin
        if admin is None:
            return
        server = AdminServer(admin, self, self._log)
        try:
            await server.start()
        except OSError as error:
            raise CannotStartError(explain_bind_error(admin.address, error)) from error
        self.admin = server
        guard = "no token, so it answers this machine only"
        if admin_token(admin) is not None:
            guard = f"with the token in {admin.token_env}"
        self._log.say(f"admin and dashboard on {replace(admin.address, port=server.port)} ({guard})")

    async def _drain_out(self) -> bool:
        """True when every exchange ended by itself."""
        worker = self._running()
        self.ready = False
        bound = self.config.timeouts.drain / 1000 if self._drain is None else self._drain
        self._log.say(f"draining for at most {bound:g} s; signal again to leave at once")
        drain = asyncio.create_task(worker.drain(bound))
        now = asyncio.create_task(self._leave_now.wait())
        begun = time.monotonic()
        await asyncio.wait((drain, now), timeout=bound + 1.0, return_when=asyncio.FIRST_COMPLETED)
        clean = drain.done() and not now.done() and time.monotonic() - begun < bound
        if drain.done() and drain.exception() is not None:
            error = drain.exception()
            self._log.say(f"drain: {describe(error) if error else ''}")
            clean = False
        for task in (drain, now):
            task.cancel()
        await asyncio.wait((drain, now), timeout=1.0)
        return clean

    def _log_trouble(self, sentence: str) -> None:
        self._log.event("access-log", f"access log: {sentence}", "warning")


def merge(old: Config, fresh: Config) -> tuple[Config, list[str]]:
    """The new configuration with what only a start can change kept as it is, and the names of those parts."""
    left = [name for name in _NEEDS_RESTART if getattr(old, name) != getattr(fresh, name)]
    merged = replace(fresh, **{name: getattr(old, name) for name in left})
    before, after = old.access_log, fresh.access_log
    if (before is None) != (after is None) or (before and after and before.format != after.format):
        left.append("log.access")
        merged = replace(merged, access_log=before)
    return merged, left


def raise_file_limit(wanted: int, log: NodeLog) -> None:
    """Open files up to what the system allows this process; says so when that is less than the connections
    need.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (OSError, ValueError):
            pass
    if soft != resource.RLIM_INFINITY and soft < wanted:
        log.say(
            f"open files are limited to {soft}, fewer than limits.connections needs; "
            f"raise them (ulimit -n) to {wanted}"
        )


def process_figures() -> dict[str, int]:
    """Resident bytes now and processor milliseconds so far, of this process."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    try:
        with open("/proc/self/statm", "rb") as statm:
            resident = int(statm.read().split()[1]) * resource.getpagesize()
    except (OSError, IndexError, ValueError):
        resident = usage.ru_maxrss * 1024
    return {"rss": resident, "cpu_ms": int((usage.ru_utime + usage.ru_stime) * 1000)}
