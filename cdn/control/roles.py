"""What a freshly forked process becomes: a worker, or the control process.

Decides what of the inheritance each one keeps, and that both run the same kind of loop with the same kind of log.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import socket
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace

import uvloop

from cdn.config.values import Config
from cdn.control.lines import Line
from cdn.control.log import NodeLog, take_over_logging
from cdn.control.seams import WorkerFactory
from cdn.control.sink import LineSink
from cdn.control.worker_process import WorkerProcess
from cdn.proxy.shared import Shared

CONTROL = -1  # the number of the control process, beside those of the workers


@dataclass(frozen=True, slots=True)
class Inherited:
    """What the supervisor has opened for all. `admin` are the sockets of the admin listener, if there is one."""

    config: Config
    shared: Shared
    admin: Sequence[socket.socket]
    factory: WorkerFactory
    read_config: Callable[[], Config] | None
    started: float  # monotonic

    def close(self) -> None:
        self.shared.close()
        if self.shared.doors is not None:
            self.shared.doors.close()
        for sock in self.admin:
            sock.close()


def play(number: int, inherited: Inherited, orders: Line, fresh: int | None, generation: int) -> int:
    """The life of the process with this number; its exit code. `fresh`: a file with a later configuration."""
    config = inherited.config
    if fresh is not None:
        config = pickle.loads(os.pread(fresh, os.fstat(fresh).st_size, 0))
    stderr = LineSink("stderr")
    log = NodeLog(stderr.write)
    take_over_logging(log)
    if number == CONTROL:
        # here, and not before the fork: its libraries take as long to load as all else, and no client waits for them
        from cdn.control.control_process import ControlProcess

        inherited.shared.close()
        run = ControlProcess(
            config,
            replace(inherited.shared, sockets=()),
            orders,
            log,
            inherited.admin,
            read_config=inherited.read_config,
            started=inherited.started,
            generation=generation,
        ).run
    else:
        for sock in inherited.admin:
            sock.close()
        inherited.shared.memory.attach(number)
        if inherited.shared.doors is not None:
            inherited.shared.doors.board.sit(number)
        run = WorkerProcess(config, inherited.shared, inherited.factory, orders, log).run
    return _in_a_loop(run, log, stderr)


def _in_a_loop(run: Callable[[], Coroutine[None, None, int]], log: NodeLog, stderr: LineSink) -> int:
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(run())
    finally:
        log.flush()
        stderr.close()
