"""What is invalidated is durable before its answer: how many syncs that takes for many who come at once."""

from __future__ import annotations

import asyncio
import threading
from typing import Any
from unittest import mock

import pytest

from cdn.proxy.disk import DiskTier


class Slow:
    """A disk that takes one batch of notes at a time, and only when it is let."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.go = threading.Semaphore(0)
        self.batches = 0
        self.error: OSError | None = None

    def __call__(self) -> None:
        self.batches += 1
        self.begun.release()
        assert self.go.acquire(timeout=20)
        if self.error is not None:
            raise self.error


def tier(slow: Slow) -> tuple[DiskTier, Any]:
    disk = mock.Mock()
    return DiskTier(disk, mock.Mock(), slow), disk


async def noting(tier: DiskTier, number: int) -> list[asyncio.Task[None]]:
    tasks = [asyncio.create_task(tier.note()) for _ in range(number)]
    await asyncio.sleep(0)
    return tasks


def test_who_comes_while_the_disk_writes_shares_the_next_sync() -> None:
    async def run() -> None:
        slow = Slow()
        disk_tier, disk = tier(slow)
        first = await noting(disk_tier, 1)
        assert await asyncio.to_thread(slow.begun.acquire, timeout=20)
        others = await noting(disk_tier, 60)
        slow.go.release()
        await asyncio.wait_for(asyncio.gather(*first), 20)
        assert await asyncio.to_thread(slow.begun.acquire, timeout=20)
        assert not any(task.done() for task in others), "what was written may have been read before they came"
        slow.go.release()
        await asyncio.wait_for(asyncio.gather(*others), 20)
        assert slow.batches == 2
        slow.go.release()
        await asyncio.wait_for(disk_tier.note(), 20)
        assert slow.batches == 3
        disk.note_soon.assert_not_called()
        disk_tier.close()

    asyncio.run(run())


def test_a_disk_that_fails_is_told_to_all_and_tried_again_later() -> None:
    async def run() -> None:
        slow = Slow()
        slow.error = OSError(5, "Input/output error")
        disk_tier, disk = tier(slow)
        tasks = await noting(disk_tier, 1)
        tasks += await noting(disk_tier, 3)
        slow.go.release()
        slow.go.release()
        await asyncio.wait_for(asyncio.gather(*tasks), 20)
        assert slow.batches == 2
        assert disk.note_soon.call_count == 4, "with the next batch of the writer"
        disk_tier.close()

    asyncio.run(run())


def test_nobody_waits_again_for_a_disk_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cdn.proxy.disk.PATIENCE", 0.05)

    async def run() -> None:
        slow = Slow()
        disk_tier, disk = tier(slow)
        await asyncio.wait_for(asyncio.gather(disk_tier.note(), disk_tier.note()), 20)
        await asyncio.wait_for(disk_tier.note(), 20)
        assert disk.note_soon.call_count == 3
        assert slow.batches == 1
        slow.go.release()
        slow.go.release()
        assert await asyncio.to_thread(slow.begun.acquire, timeout=20)
        disk_tier.close()

    asyncio.run(run())
