"""What the workers of a node have in common, made once, before they are.

Decides in which order store, journal and disk are opened, and that a node goes on without a disk that fails. It must
not know what a worker does with them.
"""

from __future__ import annotations

import itertools
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from cdn.config.values import Config
from cdn.proxy import durable
from cdn.proxy.clock import Clock
from cdn.proxy.spreading import Doors
from cdn.store import Journal, Memory, open_memory
from cdn.store.disk.folder import DiskTroubleError
from cdn.store.disk.tier import Disk, open_disk
from cdn.store.opening import WORKERS


@dataclass(frozen=True, slots=True)
class Shared:
    """`sockets` are those of each listener."""

    memory: Memory
    journal: Journal
    clock: Clock
    sockets: tuple[tuple[socket.socket, ...], ...]
    disk: Disk | None = None  # not started: each worker does that
    trouble: DiskTroubleError | None = None  # why there is no disk although one is configured
    doors: Doors | None = None  # through which connections go to other workers

    def close(self) -> None:
        for sock in itertools.chain(*self.sockets):
            sock.close()


def share(config: Config, sockets: Sequence[Sequence[socket.socket]], clock: Clock | None = None) -> Shared:
    """Open the store, its journal and the disk beside sockets that listen. store.StoreError, OSError.

    A disk that fails is left out, and what is said of it is in `trouble`.
    """
    clock, listening = clock or Clock(), tuple(map(tuple, sockets))
    if config.store.disk is None:
        memory = open_memory(config.store, workers=workers_of(config))
        return Shared(memory, Journal(memory), clock, listening)
    try:
        disk = open_disk(config.store.disk, writers=workers_of(config))
    except DiskTroubleError as error:
        memory = open_memory(config.store, workers=workers_of(config))
        return Shared(memory, Journal(memory), clock, listening, trouble=error)
    try:
        memory = open_memory(config.store, disk.secret, workers_of(config))
        journal = Journal(memory)
        durable.restore(disk, memory, journal, clock)
    except BaseException:
        disk.close()
        raise
    return Shared(memory, journal, clock, listening, disk)


def workers_of(config: Config) -> int:
    """How many workers a node of this configuration has."""
    return config.workers or min(len(os.sched_getaffinity(0)), WORKERS)
