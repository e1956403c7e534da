"""Our own load generator: N connections on one event loop, as a closed or an open loop.

Closed: every connection asks again as soon as it was answered. Open: request i is due at begin + i / rate,
whatever became of those before; one that finds no connection free waits, and its time counts from when it
was due. So a server that stalls is seen by everybody who would have come meanwhile (the mistake to leave
them out is known as coordinated omission; G. Tene, "How NOT to Measure Latency"). It watches itself: CPU
time, and how late it was although a connection was free.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import monotonic_ns

import uvloop

from cdn.loadtest import errors
from cdn.loadtest.connection import Connection
from cdn.loadtest.histogram import Histogram
from cdn.loadtest.plan import Plan
from cdn.loadtest.pulse import Pulse
from cdn.loadtest.result import Moment
from cdn.loadtest.tally import Tally

FINEST_NS = 100_000  # between two looks at what is due
AT_ONCE = 128  # connects under way
MOST_STEPS = 600  # of the series
WATCH_NS = 10_000_000  # how often a closed loop looks whether it is late itself
SHORTEST_PAUSE, LONGEST_PAUSE = 0.05, 1.0  # seconds between failed connects of one place


@dataclass(slots=True)
class Run:
    """What a run leaves behind."""

    tally: Tally
    seconds: float
    due: int
    reconnects: int
    failed_connects: dict[str, int]
    cpu: float
    lag_us: int
    interrupted: bool


def generate(
    plan: Plan,
    address: str,
    context: ssl.SSLContext | None,
    heads: Iterator[bytes],
    progress: Callable[[Moment, Tally], None],
) -> Run:
    """Runs the plan against one address; LoadTestError of the heads passes through."""
    return uvloop.run(Generator(plan, address, context, heads, progress).run())


class Generator:
    """One run. It owns the connections and is told by them what happened."""

    def __init__(
        self,
        plan: Plan,
        address: str,
        context: ssl.SSLContext | None,
        heads: Iterator[bytes],
        progress: Callable[[Moment, Tally], None],
    ) -> None:
        self._plan, self._address, self._context = plan, address, context
        self._heads, self._progress = heads, progress
        self._tally = Tally()
        self._lag = Histogram()
        self._idle: dict[Connection, None] = {}  # the last one to come is the first to go
        self._all: set[Connection] = set()
        self._places: set[asyncio.Task[None]] = set()
        self._flying = 0
        self._sent = 0
        self._reconnects = 0
        self._running = False
        self._heads_over = False
        self._failed_connects: dict[str, int] = {}
        self._over = False  # nothing is sent any more
        self._error: Exception | None = None
        self._begin_ns = self._end_ns = 0
        self._period_ns = 1e9 / plan.rate if plan.rate else 0.0
        self._next_beat_ns = 0

    async def run(self) -> Run:
        self._loop = asyncio.get_running_loop()
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._done = asyncio.Event()
        interrupted = False

        def interrupt() -> None:
            nonlocal interrupted
            interrupted = True
            self._finish()

        self._loop.add_signal_handler(signal.SIGINT, interrupt)
        self._loop.add_signal_handler(signal.SIGTERM, interrupt)
        for _ in range(self._plan.connections):
            self._open()
        await asyncio.wait(set(self._places), timeout=self._plan.timeout)
        gc.freeze()
        cpu = time.process_time()
        self._begin_ns = monotonic_ns()
        self._end_ns = self._begin_ns + int(self._plan.duration * 1e9)
        self._running = not self._over
        pulse = self._start()
        try:
            await self._steps()
            ended_ns = min(monotonic_ns(), self._end_ns)
            self._finish()
            await self._drain()
        finally:
            pulse.close()
            gc.unfreeze()
        seconds = max((ended_ns - self._begin_ns) / 1e9, 1e-6)
        cpu = (time.process_time() - cpu) / ((monotonic_ns() - self._begin_ns) / 1e9)
        due = self._close_books(ended_ns)
        await self._leave()
        if self._error is not None:
            raise self._error
        lag = self._lag.percentile(99)
        return Run(self._tally, seconds, due, self._reconnects, self._failed_connects, cpu, lag, interrupted)

    # -- what is sent when

    def _start(self) -> Pulse:
        if self._period_ns:
            return Pulse(self._loop, max(int(self._period_ns), FINEST_NS), self._send_due)
        waiting, self._idle = list(self._idle), {}
        for connection in waiting:
            self.ready(connection)
        self._next_beat_ns = monotonic_ns() + WATCH_NS
        return Pulse(self._loop, WATCH_NS, self._watch)

    def ready(self, connection: Connection) -> None:
        """A connection has nothing to do."""
        self._all.add(connection)
        if not self._running:
            self._idle[connection] = None
            return
        now = monotonic_ns()
        begin = now
        if self._period_ns:
            begin = self._begin_ns + int(self._sent * self._period_ns)
            if begin > now:
                self._idle[connection] = None
                return
        if now >= self._end_ns:
            self._idle[connection] = None
            return
        self._send(connection, begin)

    def _send_due(self) -> None:
        """A beat of the open loop: what is due leaves on free connections."""
        if not self._running:
            return
        now = min(monotonic_ns(), self._end_ns)
        while self._idle:
            begin = self._begin_ns + int(self._sent * self._period_ns)
            if begin >= now or not self._running:
                return
            self._lag.add((now - begin) // 1000)
            self._send(self._idle.popitem()[0], begin)

    def _send(self, connection: Connection, begin_ns: int) -> None:
        try:
            head = next(self._heads, None)
        except errors.LoadTestError as error:  # a line of a trace
            self._error, head = error, None
        if head is None:
            self._heads_over = True
            self._idle[connection] = None
            self._finish()
            return
        self._sent += 1
        self._flying += 1
        connection.send(head, begin_ns)

    def _watch(self) -> None:
        """A beat of the closed loop: how late it comes is how late everything here is."""
        now = monotonic_ns()
        self._lag.add(max(0, now - self._next_beat_ns) // 1000)
        self._next_beat_ns = now + WATCH_NS

    def _finish(self) -> None:
        self._running, self._over = False, True
        self._done.set()

    # -- what came of it

    def answered(self, connection: Connection) -> None:
        self._flying -= 1
        answer = connection.answer
        us = (monotonic_ns() - connection.begin_ns) // 1000
        self._tally.answer(answer.head, answer.status, answer.size, us)

    def failed(self, connection: Connection, kind: str) -> None:
        self._flying -= 1
        waits = kind in (errors.TIMEOUT, errors.UNANSWERED)
        us = (monotonic_ns() - connection.begin_ns) // 1000 if waits else None
        self._tally.error(kind, us)

    def lost(self, connection: Connection) -> None:
        self._all.discard(connection)
        self._idle.pop(connection, None)
        if not self._over:
            self._reconnects += 1
            self._open()

    # -- connections

    def _open(self) -> None:
        task = self._loop.create_task(self._connect())
        self._places.add(task)
        task.add_done_callback(self._places.discard)

    async def _connect(self) -> None:
        pause = SHORTEST_PAUSE
        name = self._plan.target.host if self._context is not None else None
        while not self._over:
            try:
                async with self._gate, asyncio.timeout(self._plan.timeout):
                    await self._loop.create_connection(
                        lambda: Connection(self),
                        self._address,
                        self._plan.target.port,
                        ssl=self._context,
                        server_hostname=name,
                    )
                return
            except (OSError, TimeoutError) as error:
                kind = errors.connect_kind(error)
                self._failed_connects[kind] = self._failed_connects.get(kind, 0) + 1
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    # -- time

    async def _steps(self) -> None:
        """Until the end: closes a step now and then, ends what took too long."""
        length = max(1.0, self._plan.duration / MOST_STEPS)
        at = self._begin_ns
        while not self._done.is_set() and at < self._end_ns:
            until = min(at + int(length * 1e9), self._end_ns)
            while not self._done.is_set() and (now := monotonic_ns()) < until:
                await self._sleep(min(0.25, (until - now) / 1e9))
                self._end_overdue()
            self._close_step(at, min(monotonic_ns(), until))
            at = until

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._done.wait()
        except TimeoutError:
            pass

    def _close_step(self, begin_ns: int, end_ns: int) -> None:
        seconds = max((end_ns - begin_ns) / 1e9, 1e-6)
        moment = self._tally.step((begin_ns - self._begin_ns) / 1e9, seconds)
        self._progress(moment, self._tally)

    def _end_overdue(self) -> None:
        limit = monotonic_ns() - int(self._plan.timeout * 1e9)
        for connection in [c for c in self._all if c.busy and c.sent_ns < limit]:
            connection.fail(errors.TIMEOUT)

    async def _drain(self) -> None:
        """What is in flight may still be answered, for as long as any request may take."""
        end = monotonic_ns() + int(self._plan.timeout * 1e9)
        while self._flying and monotonic_ns() < end:
            await asyncio.sleep(0.005)
            self._end_overdue()
        for connection in [c for c in self._all if c.busy]:
            connection.fail(errors.UNANSWERED)

    def _close_books(self, ended_ns: int) -> int:
        """How many requests were due; those that never left are errors that waited until the end."""
        due = self._sent
        if self._period_ns and self._error is None:
            wanted = int((ended_ns - self._begin_ns) / self._period_ns)
            unsent = 0 if self._heads_over else max(0, wanted - self._sent)
            due += unsent
            bit = max(1, unsent // 1000)
            for first in range(0, unsent, bit):
                begin = self._begin_ns + int((self._sent + first) * self._period_ns)
                self._tally.error(errors.UNSENT, max(0, ended_ns - begin) // 1000, min(bit, unsent - first))
        self._tally.rest()
        return due

    async def _leave(self) -> None:
        for task in list(self._places):
            task.cancel()
        await asyncio.gather(*self._places, return_exceptions=True)
        for connection in list(self._all):
            connection.give_up()
        await asyncio.sleep(0)
