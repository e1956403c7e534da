"""The disk beside memory: what memory no more has is brought back from there before it is looked up.

Decides what comes into memory (whatever is short) and what is read from disk while it is sent (the rest), and how long
a request waits for the device before it goes to the origin as if nothing were stored. What is brought back is a record
like any other, with the stamp it was decided under. Must not know the rules, and never waits on the loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from cdn.proxy.lookup import variant_key
from cdn.rules.message import RequestHead
from cdn.rules.stored import MetaError, decode_vary_marker
from cdn.rules.vary import key_extras
from cdn.store import Memory, RecordFlag
from cdn.store.disk.tier import ColdError, Disk, Loaded, LostError

T = TypeVar("T")

WHOLE = 4 << 20  # bytes of a body that is brought into memory whole before it is served
LARGEST = 64 << 20  # and of one that has to be validated first
AT_ONCE = 256 << 10  # bytes of a body that is read and verified on the loop, if the page cache has it
TURNS = 3  # times that a newer version may come while one is read
READERS = 4  # threads
WAITING = 256  # reads that may wait for them
PATIENCE = 2.0  # seconds that a request waits for the device


class DiskTier:
    """One per worker. `disk` has been started."""

    def __init__(self, disk: Disk, memory: Memory, make_durable: Callable[[], None]) -> None:
        """`make_durable()` writes what is noted as purged, waiting for the disk; OSError."""
        self._make_durable = make_durable
        self._noter = ThreadPoolExecutor(1, "cdn-disk-note")
        self._noting: asyncio.Future[None] | None = (
            None  # what is being written; what is noted later is not in it
        )
        self._next: asyncio.Future[None] | None = (
            None  # and what is written behind it, for all who note meanwhile
        )
        self._late: asyncio.Future[None] | None = None  # a note that took too long
        self._disk = disk
        self._memory = memory
        self._threads = ThreadPoolExecutor(READERS, "cdn-disk-read")
        self._waiting = 0
        self._coming: dict[bytes, asyncio.Future[Loaded | None]] = {}
        self.counts = {"hits": 0, "brought": 0, "threaded": 0, "given_up": 0}

    async def bring(self, primary: bytes, request: RequestHead) -> dict[bytes, Loaded]:
        """Have in memory whatever may answer this request; what is too long for that is returned, by its key."""
        out: dict[bytes, Loaded] = {}
        await self._one(primary, out)
        marker = self._memory.lookup(primary)
        if marker is not None and marker.flags & RecordFlag.VARY_MARKER:
            try:
                specs = decode_vary_marker(marker.meta)
            except MetaError:
                return out
            for spec in specs:
                await self._one(variant_key(primary, spec, key_extras(spec, request.fields)), out)
        return out

    async def bring_keys(self, keys: Iterable[bytes]) -> None:
        """Have these in memory, where they are on disk and short enough."""
        for key in keys:
            await self._one(key, {}, LARGEST)

    async def _one(self, key: bytes, out: dict[bytes, Loaded], whole: int = WHOLE) -> None:
        if self._memory.lookup(key) is not None or not self._disk.has(key):
            return
        coming = self._coming.get(key)
        if coming is None:
            coming = self._coming[key] = asyncio.get_running_loop().create_future()
            try:
                large = await self._load(key, whole)
                coming.set_result(large)
            except BaseException:
                coming.cancel()
                raise
            finally:
                del self._coming[key]
        else:
            try:
                large = await asyncio.shield(coming)
            except asyncio.CancelledError:
                if coming.cancelled():  # whoever began has left: as if it were not there
                    return
                raise
        if large is not None:
            out[key] = large

    async def _load(self, key: bytes, whole: int) -> Loaded | None:
        """Into memory; or what is too long for that."""
        loaded: Loaded | None
        for _ in range(TURNS):
            try:
                loaded = self._disk.load(key, now=True, whole=min(whole, AT_ONCE))
                if loaded is not None and loaded.body is None and loaded.length <= whole:
                    raise ColdError  # in the page cache, but too long to be copied and verified on the loop
            except ColdError:
                self.counts["threaded"] += 1
                loaded = await self.in_thread(lambda: self._disk.load(key, whole=whole))
            if loaded is None or self._memory.lookup(key) is not None:
                return None
            if self._disk.current(loaded):
                break  # else a newer one came while this one was read
        else:
            return None
        self.counts["hits"] += 1
        if loaded.body is None:
            return loaded
        self.counts["brought"] += 1
        self._memory.publish(key, loaded.draft, loaded.body, tell=False)
        if not self._disk.current(loaded):
            self._memory.remove(key, tell=False)
        return None

    async def into_memory(self, large: Loaded) -> bool:
        """All of a long body into memory, for what only memory can do. False: it is too long, or cannot be read."""
        if large.length > min(LARGEST, self._memory.largest):
            return False
        await self._load(large.key, LARGEST)
        return self._memory.lookup(large.key) is not None

    async def in_thread(self, work: Callable[[], T]) -> T | None:
        """What `work` gives, from a thread; None when it takes too long, too many wait, or the entry is lost."""
        if self._waiting >= WAITING:
            self.counts["given_up"] += 1
            return None
        self._waiting += 1
        future = asyncio.get_running_loop().run_in_executor(self._threads, work)
        future.add_done_callback(self._done)
        try:
            return await asyncio.wait_for(asyncio.shield(future), PATIENCE)
        except TimeoutError:
            self.counts["given_up"] += 1
            return None
        except LostError:
            return None

    def _done(self, future: asyncio.Future[T]) -> None:
        self._waiting -= 1
        if not future.cancelled():
            future.exception()  # of a read that nobody waits for any more

    def has(self, key: bytes) -> bool:
        return self._disk.has(key)

    def note_soon(self) -> None:
        """What was invalidated is durable with the next batch."""
        self._disk.note_soon()

    async def note(self) -> None:
        """What was invalidated is durable when this returns; where the disk does not take it in time, once it does."""
        if self._late is None or self._late.done():
            try:
                await asyncio.wait_for(asyncio.shield(self._batch()), PATIENCE)
                return
            except TimeoutError:
                self._late = self._noting  # nobody waits for this disk again before it has moved
            except OSError:
                pass  # the writer meets it, too, and says so
        self._disk.note_soon()

    def _batch(self) -> asyncio.Future[None]:
        """Done when everything that is noted by now is durable. One turn of the thread, and one sync, is for all
        who came while the one before went on."""
        if self._noting is None:
            return self._begin()
        if self._next is None:
            self._next = asyncio.get_running_loop().create_future()
            self._next.add_done_callback(_seen)
        return self._next

    def _begin(self) -> asyncio.Future[None]:
        self._noting = asyncio.get_running_loop().run_in_executor(self._noter, self._make_durable)
        self._noting.add_done_callback(self._noted)
        return self._noting

    def _noted(self, done: asyncio.Future[None]) -> None:
        _seen(done)
        self._noting = None
        waiting, self._next = self._next, None
        if waiting is None or waiting.done():
            return
        try:
            self._begin().add_done_callback(partial(_same, waiting))
        except RuntimeError:  # the thread has ended, and with it the worker
            waiting.cancel()

    def stats(self) -> dict[str, Any]:
        return {
            **self._disk.shared_stats(),
            **self._disk.stats(),
            **self.counts,
            "reads_waiting": self._waiting,
        }

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._noter.shutdown(wait=False)


def _same(waiting: asyncio.Future[None], done: asyncio.Future[None]) -> None:
    """One future ends as another one has."""
    if waiting.done():
        return
    error = None if done.cancelled() else done.exception()
    if done.cancelled():
        waiting.cancel()
    elif error is not None:
        waiting.set_exception(error)
    else:
        waiting.set_result(None)


def _seen(future: asyncio.Future[None]) -> None:
    if not future.cancelled():
        future.exception()  # of a note that nobody waits for any more
