"""Opening the store that the configuration asks for.

Decides whether the machine can give that much memory before it is taken, since the kernel would not refuse
but kill. Must not know what is stored.
"""

from __future__ import annotations

import os
from pathlib import Path

from cdn.config.values import StoreConfig
from cdn.store._memory import Memory

WORKERS = 64  # that may share a store

CGROUP = Path("/sys/fs/cgroup")
MEMINFO = Path("/proc/meminfo")


class StoreError(Exception):
    """The store cannot be opened; the text is one sentence with the way out."""


def available_memory(meminfo: Path = MEMINFO, cgroup: Path = CGROUP) -> int | None:
    """Bytes that the machine, or this process's control group, can still give; None where nobody says."""
    limits = []
    try:
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                limits.append(int(line.split()[1]) << 10)
    except (OSError, ValueError, IndexError):
        pass
    try:
        most = (cgroup / "memory.max").read_text().strip()
        if most != "max":
            limits.append(int(most) - int((cgroup / "memory.current").read_text()))
    except (OSError, ValueError):
        pass
    return max(0, min(limits)) if limits else None


def open_memory(config: StoreConfig, secret: bytes | None = None, workers: int = WORKERS) -> Memory:
    """The memory store of `config.memory` bytes, taken whole, to be shared by so many forked workers.

    `secret`: 16 bytes, by default new ones. Raises StoreError when the machine does not have
    that much, or the size is unusable.
    """
    room = available_memory()
    if room is not None and config.memory > room:
        raise StoreError(
            f"store.memory is {_mebibytes(config.memory)}, but only {_mebibytes(room)} of memory are "
            "available: lower it, or give the machine (or its control group) more"
        )
    try:
        return Memory(
            config.memory,
            os.urandom(16) if secret is None else secret,
            workers=workers,
            policy=config.eviction,
            pinned=config.pinned,
        )
    except ValueError as error:
        raise StoreError(f"store.memory: {error}") from None
    except OSError as error:
        raise StoreError(
            f"store.memory: {_mebibytes(config.memory)} cannot be had ({error.strerror or error}): lower it"
        ) from None


def _mebibytes(n: int) -> str:
    return f"{n / (1 << 20):.0f} MiB"
