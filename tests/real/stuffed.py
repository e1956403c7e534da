"""`cdn serve` whose one worker, when told, publishes stored responses many times over under other URLs.

A node gets as full as that in seconds, through the store's own way of publishing; by requests it takes minutes. Each
copy is a record of its own, with the head, tags and body of the response that it is a copy of.

    python -m tests.real.stuffed site.yaml

A file `stuff` beside it says {"host": …, "seeds": [path, …], "count": n}; `stuffed` answers how many there are.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cdn._core import cache_key
from cdn.cli import main
from cdn.control import roles
from cdn.control.worker_process import WorkerProcess
from cdn.store import Memory

AT_ONCE = 2_000  # copies, between which the worker does something else


def copy_of(seed: str, number: int) -> str:
    """The path of one copy."""
    return f"{seed}/{number}"


class StuffedWorker(WorkerProcess):
    def __init__(self, config: Any, shared: Any, *others: Any) -> None:
        super().__init__(config, shared, *others)
        self._store: Memory = shared.memory

    async def run(self) -> int:
        self._loop = asyncio.get_running_loop()
        self._wait()
        return await super().run()

    def _wait(self) -> None:
        if Path("stuff").exists():
            self._go_on(stuff(self._store, json.loads(Path("stuff").read_text())))
        else:
            self._loop.call_later(0.1, self._wait)

    def _go_on(self, stuffing: Iterator[int]) -> None:
        stored = next(stuffing, None)
        if stored is not None:
            Path("half").write_text(str(stored))
            self._loop.call_soon(self._go_on, stuffing)
        else:
            Path("half").rename("stuffed")


def stuff(memory: Memory, said: dict[str, Any]) -> Iterator[int]:
    """Publish, and say now and then how many copies there are."""
    host, seeds = said["host"].encode(), said["seeds"]
    drafts = []
    for seed in seeds:
        entry = memory.lookup(cache_key(False, host, seed.encode()))
        assert entry is not None, seed
        drafts.append((entry.draft(), entry.read()))
        entry.release()
    stored = 0
    for number in range(said["count"]):
        turn, nth = number % len(seeds), number // len(seeds)
        made = memory.publish(cache_key(False, host, copy_of(seeds[turn], nth).encode()), *drafts[turn])
        if made is not None:
            stored += 1
            made.release()
        if number % AT_ONCE == AT_ONCE - 1:
            yield stored
    yield stored


if __name__ == "__main__":
    roles.WorkerProcess = StuffedWorker  # type: ignore[misc]
    sys.exit(main(["serve", sys.argv[1]]))
