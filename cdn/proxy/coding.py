"""Content coding of a body on its way into the store: encoders, the memory they take, the threads they work in.

Decides how hard and where it is compressed. Which response gets which coding came from `rules.coding`. Nothing here
opens what is compressed already.

zstd is there where the package `zstandard` is installed (`pip install cdn[zstd]`).
"""

from __future__ import annotations

import asyncio
import os
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Protocol

import brotli  # type: ignore[import-untyped]

from cdn.config.values import Route
from cdn.proxy.splicing import received
from cdn.rules.coding import Plan, negotiated, not_modified, plan
from cdn.rules.message import RequestHead, ResponseHead
from cdn.rules.storing import DontStore, decide_store
from cdn.tier import OriginResponse

try:
    import zstandard
except ImportError:  # an extra of the package
    zstandard = None  # type: ignore[assignment]

BUDGET = 64 << 20  # bytes that all encoders at work may take by `_weight`
INLINE = 16 << 10  # bytes that are compressed on the event loop at most, about half a millisecond
PAUSE = 0.05  # seconds that the origin may be silent before what it has sent goes on to the clients
THREADS = min(2, os.cpu_count() or 1)

GZIP_LEVEL = 6
BROTLI_QUALITY = 5  # as fast as gzip 6, and smaller; from 6 on a body costs more than its bytes
BROTLI_WINDOW = 18  # log2 of bytes
ZSTD_LEVEL = 6
ZSTD_WINDOW = 19
GZIP_WINDOW_BITS = 31  # 15, and a gzip header


class Encoder(Protocol):
    """`feed` and `flush` may give nothing; what `flush` gave can be decoded up to there; `finish` ends the stream."""

    def feed(self, data: bytes) -> bytes: ...
    def flush(self) -> bytes: ...
    def finish(self) -> bytes: ...


class Gzip:
    def __init__(self, length: int | None) -> None:
        self._work = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, GZIP_WINDOW_BITS)

    def feed(self, data: bytes) -> bytes:
        return self._work.compress(data)

    def flush(self) -> bytes:
        return self._work.flush(zlib.Z_SYNC_FLUSH)

    def finish(self) -> bytes:
        return self._work.flush()


class Brotli:
    def __init__(self, length: int | None) -> None:
        self._work = brotli.Compressor(quality=BROTLI_QUALITY, lgwin=_window(length, BROTLI_WINDOW))

    def feed(self, data: bytes) -> bytes:
        return bytes(self._work.process(data))

    def flush(self) -> bytes:
        return bytes(self._work.flush())

    def finish(self) -> bytes:
        return bytes(self._work.finish())


class Zstd:
    def __init__(self, length: int | None) -> None:
        wanted = zstandard.ZstdCompressionParameters.from_level(
            ZSTD_LEVEL, window_log=_window(length, ZSTD_WINDOW)
        )
        self._work = zstandard.ZstdCompressor(compression_params=wanted).compressobj()

    def feed(self, data: bytes) -> bytes:
        return self._work.compress(data)

    def flush(self) -> bytes:
        return self._work.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)

    def finish(self) -> bytes:
        return self._work.flush(zstandard.COMPRESSOBJ_FLUSH_FINISH)


def _window(length: int | None, most: int) -> int:
    """A window that holds the whole body, bounded; small bodies then cost little memory."""
    return most if length is None else max(12, min(most, (length - 1).bit_length()))


ENCODERS: dict[str, Callable[[int | None], Encoder]] = {"br": Brotli, "gzip": Gzip}
if zstandard is not None:
    ENCODERS["zstd"] = Zstd


def _weight(coding: str, length: int | None) -> int:
    """Bytes of memory that an encoder takes, measured and rounded up."""
    if coding == "gzip":
        return 320 << 10
    if coding == "zstd":
        return 3584 << 10
    return {12: 64 << 10, 13: 64 << 10, 14: 64 << 10}.get(_window(length, BROTLI_WINDOW), 2816 << 10)


def asked(route: Route, request: RequestHead) -> RequestHead:
    """The request as the store and the origin see it on a route with codings."""
    if route.cache is None or not route.compress:
        return request
    return negotiated(request, route.compress, directives=route.cache.request_directives != "none")


def described(
    route: Route, request: RequestHead, head: ResponseHead, request_time: int, response_time: int
) -> ResponseHead:
    """An origin's answer to HEAD as the head of what a GET would be given (RFC 9110 §9.3.2)."""
    if route.cache is None or not route.compress or head.status == 304:
        return not_modified(request, head, route.compress)
    declared = head.fields.all("content-length")
    length = int(declared[0]) if len(declared) == 1 and declared[0].isdecimal() else None
    planned = plan(request, head, route.compress, ENCODERS, length, route.cache.targets).head
    decision = decide_store(
        replace(request, method="GET"),
        planned,
        route.cache,
        request_time=request_time,
        response_time=response_time,
    )
    return head if isinstance(decision, DontStore) else planned


class Coders:
    """All encoders of a worker. When their memory is used up, a response gets a cheaper coding, or none."""

    def __init__(self, budget: int = BUDGET) -> None:
        self.budget = budget
        self.taken = 0
        self.made: dict[str, int] = dict.fromkeys(ENCODERS, 0)
        self._threads: ThreadPoolExecutor | None = None

    def available(self, length: int | None) -> list[str]:
        """The codings that there is memory for now, for a body of this length (None: not known)."""
        return [coding for coding in ENCODERS if self.taken + _weight(coding, length) <= self.budget]

    def plan(self, route: Route, request: RequestHead, response: OriginResponse) -> Plan:
        """What is stored of this response if it may be; the request is a negotiated one."""
        if route.cache is None or not route.compress:
            return Plan(response.head)
        length, targets = response.length, route.cache.targets
        return plan(request, response.head, route.compress, self.available(length), length, targets)

    def encode(self, response: OriginResponse, coding: str) -> CodedBody:
        """The body of `response` in one of the `available` codings. Close it."""
        weight = _weight(coding, response.length)
        body = CodedBody(self, response, ENCODERS[coding](response.length), weight)
        self.taken += weight
        self.made[coding] += 1
        return body

    def stats(self) -> dict[str, Any]:
        """Bodies encoded since the start, by coding, and the memory that encoders hold now."""
        return {"made": dict(self.made), "taken": self.taken}

    async def work(self, job: Callable[..., bytes], *data: bytes) -> bytes:
        """`job(*data)` in a thread: the compressors let go of the interpreter while they work."""
        if self._threads is None:
            self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="cdn-coding")
        return await asyncio.get_running_loop().run_in_executor(self._threads, job, *data)

    def close(self) -> None:
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None


class CodedBody:
    """An origin's body, encoded piece by piece; read it like the response. Never more than a piece waits in it."""

    def __init__(self, coders: Coders, response: OriginResponse, encoder: Encoder, weight: int) -> None:
        self._coders = coders
        self._response = response
        self._encoder: Encoder | None = encoder
        self._weight = weight
        self._small = response.length is not None and response.length <= INLINE
        self._reading: asyncio.Future[bytes] | None = None
        self._held = False  # the encoder has taken bytes that it did not give yet
        self._received = 0

    async def read(self) -> bytes:
        """Encoded bytes, at least one; b"" at the end, and where the origin's body broke off. Raises OriginError."""
        while self._encoder is not None:
            data = await self._next()
            if data is None:
                out = await self._work(self._encoder.flush)
                self._held = False
            elif data:
                self._received += received(self._response, data)
                out = await self._work(self._encoder.feed, data)
                self._held = True
            else:
                out = await self._work(self._encoder.finish) if self._response.complete else b""
                self.close()
            if out:
                return out
        return b""

    def taken(self) -> int:
        """The bytes that the origin sent since this was last asked."""
        count, self._received = self._received, 0
        return count

    async def _work(self, job: Callable[..., bytes], *data: bytes) -> bytes:
        return job(*data) if self._small else await self._coders.work(job, *data)

    async def _next(self) -> bytes | None:
        """What the origin sends next; None when it pauses while the encoder holds something back."""
        if self._reading is None:
            data = self._response.ready()
            if data is not None:
                return data
            self._reading = asyncio.ensure_future(self._response.read())
        try:
            done, _ = await asyncio.wait({self._reading}, timeout=PAUSE if self._held else None)
        except asyncio.CancelledError:
            self.close()
            raise
        if not done:
            return None
        reading, self._reading = self._reading, None
        return reading.result()

    def close(self) -> None:
        """Give the encoder's memory back. Idempotent."""
        if self._reading is not None:
            self._reading.add_done_callback(lambda reading: reading.cancelled() or reading.exception())
            self._reading.cancel()
            self._reading = None
        if self._encoder is not None:
            self._encoder = None
            self._coders.taken -= self._weight
