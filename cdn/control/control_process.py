"""The control process: the admin listener and what it needs, apart from the workers, so that it holds up none of them.

Decides what a message of the supervisor means here. What the node is asked and told is in `node.py`.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import socket
from collections.abc import Callable, Sequence
from typing import Any

from cdn.config.values import Config
from cdn.control.admin import AdminServer
from cdn.control.bus import Bus
from cdn.control.lines import Caller, Line, LineEnd
from cdn.control.log import NodeLog, loop_exception_handler
from cdn.control.neighbours import Neighbours
from cdn.control.node import Node, Peer
from cdn.control.worker_process import FAILED, why
from cdn.proxy import durable
from cdn.proxy.purge_log import PurgeLog
from cdn.proxy.shared import Shared

PATIENCE = 5.0  # seconds that the supervisor has to take a configuration


class ControlProcess:
    """`orders` is the line to the supervisor, `sockets` those of the admin listener."""

    def __init__(
        self,
        config: Config,
        shared: Shared,
        orders: Line,
        log: NodeLog,
        sockets: Sequence[socket.socket],
        *,
        read_config: Callable[[], Config] | None,
        started: float,
        generation: int,
    ) -> None:
        self._orders = orders
        self._log = log
        self._sockets = sockets
        self._leave = asyncio.Event()
        self._reload = asyncio.Event()
        self._taken: dict[int, asyncio.Event] = {}  # by generation
        self._tasks: set[asyncio.Task[None]] = set()
        self._purges = PurgeLog(shared.journal)
        self._clock = shared.clock
        self.node = Node(
            config,
            shared.memory,
            self._purges,
            shared.clock,
            log,
            publish=self._publish,
            kill=lambda number: self._tell({"say": "kill", "worker": number}),
            read_config=read_config,
            started=started,
            generation=generation,
            disk=shared.disk,
            make_durable=lambda: _make_durable(shared),
        )

    async def run(self) -> int:
        """Serves the admin listener until it is told to end."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(loop_exception_handler(self._log))
        loop.add_reader(self._orders.fileno(), self._hear)
        admin: AdminServer | None = None
        try:
            if self.node.config.admin is not None:
                admin = AdminServer(self.node.config.admin, self.node, self._log)
                await admin.start(self._sockets)
        except Exception as error:
            self._tell({"say": "failed", "why": why(error)})
            return FAILED
        bus = await self._start_bus()
        gc.collect()
        gc.freeze()
        reloads = asyncio.create_task(self._reload_when_wanted())
        self._tell({"say": "ready"})
        await self._leave.wait()
        reloads.cancel()
        if bus is not None:
            await bus.stop()
        for peer in list(self.node.peers.values()):
            await peer.caller.close()
        if admin is not None:
            await admin.stop()
        return 0

    async def _start_bus(self) -> Bus | None:
        """Returns when what was purged while this node was away is in force: the workers start behind it."""
        node, config = self.node, self.node.config.bus
        if config is None:
            return None
        node.neighbours = Neighbours(node.config)
        node.bus = Bus(config, node, self._purges, self._clock, self._log, node.neighbours)
        await node.bus.start()
        return node.bus

    def _hear(self) -> None:
        try:
            messages = self._orders.receive()
        except LineEnd:
            os._exit(FAILED)  # the supervisor is gone
        for message, fd in messages:
            match message["do"]:
                case "meet" if fd is not None:
                    self._meet(message, socket.socket(fileno=fd))
                case "part":
                    self.node.part(message["worker"])
                case "reload":
                    self._reload.set()
                case "taken":
                    self._taken[message["generation"]].set()
                case "drain":
                    self.node.draining = True
                case "leave":
                    self._leave.set()

    def _meet(self, message: dict[str, Any], sock: socket.socket) -> None:
        peer = Peer(
            message["worker"], message["pid"], message["restarts"], message["generation"], Caller(sock)
        )
        task = asyncio.get_running_loop().create_task(self.node.meet(peer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _reload_when_wanted(self) -> None:
        while True:
            await self._reload.wait()
            self._reload.clear()
            await self.node.reload()

    async def _publish(self, config: bytes, generation: int, drain: int) -> None:
        """Give the supervisor a configuration; what it says in answer comes behind word of every earlier fork."""
        taken = self._taken[generation] = asyncio.Event()
        fd = os.memfd_create("cdn-config", os.MFD_CLOEXEC)
        try:
            with os.fdopen(os.dup(fd), "wb") as file:
                file.write(config)
            self._orders.send({"say": "config", "generation": generation, "drain": drain}, fd)
        finally:
            os.close(fd)
        try:
            await asyncio.wait_for(taken.wait(), PATIENCE)
        except TimeoutError:
            raise ValueError("the supervisor does not answer") from None
        finally:
            del self._taken[generation]

    def _tell(self, message: dict[str, Any]) -> None:
        try:
            self._orders.send(message)
        except LineEnd:
            os._exit(FAILED)


def _make_durable(shared: Shared) -> None:
    if shared.trouble is not None and shared.trouble.left:
        raise OSError(errno.EIO, "a cache is in store.disk.path that could not be read")
    if shared.disk is not None:
        durable.persist(shared.disk, shared.journal, shared.clock)
