"""The bus: every purge of every node, in one order, from a stream that the nodes' broker keeps.

Decides when a purge is everybody's (when the stream has it), from where a node reads on, and what becomes of what is
stored when it cannot know what was purged: it is validated before it is used. How a broker is spoken to is in
`broker.py`, how a purge is carried out in `node.py`.

    connect ─▶ what does the stream hold? ─▶ read on behind the last one applied ─▶ apply, one by one ─┐
       ▲                └ ours is gone, or another stream: a gap, everything is validated             │
       └──────────────────────── anything fails, or nothing is heard for 3.5 s ◀────────────────────────┘
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from cdn.config.values import Bus as BusConfig
from cdn.control.broker import Broker, BrokerError, Delivery, StreamState, TooLongError
from cdn.control.log import NodeLog, describe, one_line
from cdn.control.neighbours import Neighbours
from cdn.control.purge_request import PurgeRequest, decode
from cdn.proxy.clock import Clock
from cdn.proxy.purge_log import Place, PurgeLog
from cdn.store import JournalBusyError

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 1.0  # seconds between two connections
APPLIED = 2.0  # seconds that a purge which is in the stream may take to come back from it
REMEMBERED = 256  # purges whose result is known a little longer
BUSY = 0.05  # seconds until the purge log is tried again
ANNOUNCED = 2.0  # seconds between two words to the other nodes


class NotToldError(Exception):
    """The other nodes do not know of it; one sentence."""


class Carrier(Protocol):
    """What the bus needs of its node."""

    async def carry_out(self, wanted: PurgeRequest, place: Place | None = None) -> int: ...
    async def noted(self) -> None:
        """What is in force is on disk; an error of the disk's is said in the log."""
        ...

    def stored(self) -> int:
        """How many responses there are."""
        ...


class Bus:
    """`connect` is replaced by tests of what happens to a connection."""

    def __init__(
        self,
        config: BusConfig,
        node: Carrier,
        purges: PurgeLog,
        clock: Clock,
        log: NodeLog,
        neighbours: Neighbours,
    ) -> None:
        self._config = config
        self._node = node
        self._purges = purges
        self._clock = clock
        self._log = log
        self._neighbours = neighbours
        self._name = neighbours.name
        self._broker: Broker | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._caught_up = asyncio.Event()  # and still connected
        self._waiting: dict[int, asyncio.Future[int]] = {}  # by sequence: how many were reached
        self._done: OrderedDict[int, int] = OrderedDict()
        self._last = 0  # that is known to be in the stream
        self._said = ""  # why it is cut off, as it was last said
        self._counts = {"applied": 0, "published": 0, "gaps": 0, "connections": 0}

    async def start(self) -> None:
        """Returns when what the node missed is applied, or could not be had in time: then nothing stored is trusted."""
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._run()), loop.create_task(self._announce())]
        try:
            await asyncio.wait_for(self._caught_up.wait(), self._config.wait / 1000)
        except TimeoutError:
            await self._distrust(None, self._said or "it has not all been read in time")

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def stats(self) -> dict[str, Any]:
        """`sequence`: of the last purge applied; `lag`: how many are known to be behind it."""
        place = self._purges.applied()
        sequence = place.sequence if place is not None else 0
        return {
            "connected": int(self._caught_up.is_set()),
            "sequence": sequence,
            "lag": max(0, self._last - sequence),
            **self._counts,
            **self._neighbours.stats(),
        }

    async def purge(self, wanted: PurgeRequest) -> tuple[int, int]:
        """Have it applied everywhere, here when it returns: (how many were reached here, its sequence).

        NotToldError, and it is in force nowhere; ValueError for what is too long for the broker.
        """
        broker = self._broker
        if broker is None:
            raise NotToldError(f"the bus cannot be reached ({self._said or 'not connected yet'})")
        try:
            sequence = await broker.publish(wanted.encode(self._name))
        except TooLongError as error:
            raise ValueError(f"the purge is too long for the bus ({error}); send it in parts") from error
        except BrokerError as error:
            raise NotToldError(f"the bus did not take it ({error})") from error
        self._counts["published"] += 1
        self._last = max(self._last, sequence)
        if sequence in self._done:
            return self._done[sequence], sequence
        waiting = self._waiting.setdefault(sequence, asyncio.get_running_loop().create_future())
        try:
            return await asyncio.wait_for(asyncio.shield(waiting), APPLIED), sequence
        except TimeoutError:  # cut off just now; it comes again, which does no harm
            return await self._node.carry_out(wanted), sequence
        finally:
            self._waiting.pop(sequence, None)

    # Connections

    async def _run(self) -> None:
        servers, pause, turn = self._config.servers, FIRST_PAUSE, 0
        while True:
            try:
                broker = await Broker.connect(self._config, servers[turn % len(servers)], self._name)
                try:
                    await self._follow(broker)
                finally:
                    self._broker = None
                    await broker.close()
            except BrokerError as error:
                why = str(error)
            except Exception as error:  # the bus outlives a fault: nobody else would read the stream
                why = describe(error)
            pause = FIRST_PAUSE if self._caught_up.is_set() else min(2 * pause, LONGEST_PAUSE)
            self._cut_off(why)
            turn += 1
            await asyncio.sleep(pause)

    def _cut_off(self, why: str) -> None:
        known, self._said = self._said, one_line(why, 200)
        if self._caught_up.is_set() or not known:
            self._log.say(
                f"bus: cut off ({self._said}); the node goes on serving, and asks again at least every second"
            )
        self._caught_up.clear()

    async def _follow(self, broker: Broker) -> None:
        """Until the connection fails."""
        state = await broker.stream()
        place = await self._settle(state)
        await broker.listen(self._neighbours.hear)
        await broker.follow(place.sequence + 1)
        self._broker = broker
        self._counts["connections"] += 1
        first = True
        if place.sequence >= state.last:
            self._caught(place)
        while True:
            batch = await broker.batch(place.sequence)
            for delivery in batch:
                place = await self._take(place, delivery, first)
                first = False
            if batch:
                await self._node.noted()
                self._answer(batch)
            if not self._caught_up.is_set() and place.sequence >= state.last:
                self._caught(place)

    def _caught(self, place: Place) -> None:
        if self._said:
            self._log.say(f"bus: connected again, everything up to number {place.sequence} is applied")
        self._said = ""
        self._caught_up.set()

    async def _settle(self, state: StreamState) -> Place:
        """The place behind which to read on."""
        self._last = state.last
        place = self._purges.applied()
        start = Place(state.tag, max(state.first - 1, 0))
        if place is None:
            # whatever is stored here was stored while nobody listened
            here = Place(state.tag, state.last)
            await self._distrust(here, "it has not read the stream before" if self._node.stored() else None)
            return here
        if place.tag != state.tag or place.sequence > state.last:
            await self._distrust(start, "the stream is another one than before")
            return start
        if place.sequence + 1 < state.first:
            await self._distrust(start, f"the stream begins with number {state.first} only")
            return start
        return place

    async def _distrust(self, place: Place | None, why: str | None) -> None:
        """Purges may be missing: what is stored has to be validated before it is used. No reason: nothing is stored."""
        await self._log_busy(lambda: self._forget(place))
        await self._node.noted()
        if why is not None:
            self._counts["gaps"] += 1
            self._log.say(
                f"bus: purges may be missing here ({why}): everything stored is validated before it is used"
            )

    async def _forget(self, place: Place | None) -> int:
        self._purges.forget(place, self._clock.now())
        return 0

    # Purges

    async def _take(self, place: Place, delivery: Delivery, first: bool) -> Place:
        """Apply one; the place after it."""
        if delivery.sequence <= place.sequence:
            return place
        here = Place(place.tag, delivery.sequence)
        if delivery.sequence != place.sequence + 1:
            if not first:
                raise BrokerError(f"number {place.sequence + 1} of the stream has not come")
            await self._distrust(here, f"the stream has no number {place.sequence + 1} any more")
        reached = 0
        try:
            wanted = decode(delivery.data)
        except ValueError as error:
            await self._distrust(here, one_line(f"number {delivery.sequence} cannot be read: {error}", 200))
        else:
            reached = await self._log_busy(lambda: self._node.carry_out(wanted, here))
        self._counts["applied"] += 1
        self._last = max(self._last, delivery.sequence + delivery.waiting)
        self._done[delivery.sequence] = reached
        if len(self._done) > REMEMBERED:
            self._done.popitem(last=False)
        return here

    async def _log_busy(self, write: Callable[[], Awaitable[int]]) -> int:
        """The order is the stream's: nothing later is applied before."""
        while True:
            try:
                return await write()
            except JournalBusyError as error:
                self._log.event("bus", f"bus: {error}; tried again", "warning")
                await asyncio.sleep(BUSY)

    def _answer(self, batch: list[Delivery]) -> None:
        for delivery in batch:
            waiting = self._waiting.get(delivery.sequence)
            if waiting is not None and not waiting.done():
                waiting.set_result(self._done.get(delivery.sequence, 0))

    async def _announce(self) -> None:
        while True:
            broker, place = self._broker, self._purges.applied()
            if broker is not None:
                try:
                    await broker.tell(self._neighbours.word(place.sequence if place is not None else 0))
                except BrokerError:
                    pass  # whoever follows the stream finds out, and says so
            for sentence in self._neighbours.news():
                self._log.say(f"bus: {sentence}")
            await asyncio.sleep(ANNOUNCED)
