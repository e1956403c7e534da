"""The whole node as the admin listener sees it: its workers asked and added up, purges, reloads.

Lives in the control process, which has a line to every worker and one to the supervisor. Decides how a reload is all or
nothing and when a purge is in force; no worker is needed for that, so that one which hangs holds up no purge. How a
byte is served is the workers'.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from cdn.config.values import Config
from cdn.control.bus import Bus, NotToldError
from cdn.control.figures import process_figures
from cdn.control.lines import Caller, Gone
from cdn.control.log import NodeLog, describe, one_line
from cdn.control.neighbours import Neighbours
from cdn.control.purge_request import PurgeRequest
from cdn.control.totals import left_behind, total
from cdn.proxy._routes import RouteTable
from cdn.proxy.clock import Clock
from cdn.proxy.purge_log import Place, PurgeLog
from cdn.proxy.purging import key_of
from cdn.store import JournalBusyError, Memory
from cdn.store.disk.tier import Disk

SOON = 1.0  # seconds that a worker has for an answer that somebody waits for
HUNG, HANGS = 0.01, 5.0  # and one that has just not answered; for so long
PATIENCE = 10.0  # and for compiling a configuration

_NEEDS_RESTART = ("bus", "listen", "admin", "workers", "busy_poll", "store", "node")


@dataclass(frozen=True, slots=True)
class Reached:
    """What a purge reached on this node, and its number among those of all nodes, where there is a bus."""

    count: int
    sequence: int | None = None


class UnavailableError(Exception):
    """What was asked cannot be done just now; one sentence."""


@dataclass
class Peer:
    """A worker, as the control process knows it. `generation` of the configuration that it serves by."""

    number: int
    pid: int
    restarts: int
    generation: int
    caller: Caller
    since: float = field(default_factory=time.monotonic)
    last: Mapping[str, Any] = field(default_factory=dict)  # the counters it told last
    hung_until: float = 0.0  # monotonic; until then it is known not to answer


class Node:
    """`publish(config, generation)` gives a configuration to the supervisor, for workers to come, and returns when it
    has it; `kill(number)` has a worker replaced. `read_config` raises ValueError with one line when the file cannot be
    used.
    """

    def __init__(
        self,
        config: Config,
        memory: Memory,
        purges: PurgeLog,
        clock: Clock,
        log: NodeLog,
        *,
        publish: Callable[[bytes, int, int], Awaitable[None]],
        kill: Callable[[int], None],
        read_config: Callable[[], Config] | None = None,
        started: float | None = None,
        generation: int = 0,
        disk: Disk | None = None,
        make_durable: Callable[[], None] = lambda: None,
    ) -> None:
        self.config = config
        self._disk = disk
        self._make_durable = make_durable
        self.name = config.node.name
        self.draining = False
        self.peers: dict[int, Peer] = {}
        self.bus: Bus | None = None  # of the other nodes, if there may be any
        self.neighbours: Neighbours | None = None
        self._table = RouteTable(config.routes)
        self._memory = memory
        self._purge_log = purges
        self._clock = clock
        self._log = log
        self._publish = publish
        self._kill = kill
        self._read_config = read_config
        self._started = time.monotonic() if started is None else started
        self._generation = generation
        self._past: dict[str, Any] = {}  # what workers that have ended had counted
        self._purges = {"requests": 0, "reached": 0}
        self._reloads = {"done": 0, "refused": 0}
        self._reloading = asyncio.Lock()

    @property
    def ready(self) -> bool:
        return bool(self.peers) and not self.draining

    # Workers come and go

    async def meet(self, peer: Peer) -> None:
        """A worker has started. One that was forked before the latest reload takes that now."""
        old = self.peers.pop(peer.number, None)
        if old is not None:
            self._bury(old)
        self.peers[peer.number] = peer
        async with self._reloading:
            if peer.generation < self._generation and self.peers.get(peer.number) is peer:
                await self._bring_up_to_date(peer, self.config, False)
                self._begin_epoch()

    def part(self, number: int) -> None:
        """A worker has ended."""
        peer = self.peers.pop(number, None)
        if peer is not None:
            self._bury(peer)

    def _bury(self, peer: Peer) -> None:
        self._past = total((self._past, left_behind(peer.last)))

    # What the admin listener asks

    async def stats(self) -> Mapping[str, Any]:
        """Counters of all workers, those that have ended included, and the node's own."""
        peers = sorted(self.peers.values(), key=lambda peer: peer.number)
        answered = await asyncio.gather(*(self._counters(peer) for peer in peers))
        node = total((self._past, *(peer.last for peer in peers)))
        own = [process_figures(), process_figures(os.getppid())]
        node["process"] = {
            name: node.get("process", {}).get(name, 0) + sum(one[name] for one in own)
            for name in ("rss", "cpu_ms")
        }
        node["log_events"] = total((node.get("log_events", {}), self._log.counts()))
        node["uptime_ms"] = int((time.monotonic() - self._started) * 1000)
        node["ready"] = self.ready
        node["purges"] = dict(self._purges)
        node["reloads"] = dict(self._reloads)
        node["store"] = {**node.get("store", {}), **self._memory.stats(), "fills": _fills(node)}
        if self._disk is not None:
            node["disk"] = {**node.get("disk", {}), **self._disk.shared_stats()}
        if self.bus is not None:
            node["bus"] = self.bus.stats()
        node["workers"] = [
            {
                "worker": peer.number,
                "pid": peer.pid,
                "restarts": peer.restarts,
                "answers": answers,
                "uptime_ms": int((time.monotonic() - peer.since) * 1000),
                "connections": peer.last.get("connections", {}).get("open", 0),
                "requests": sum(peer.last.get("outcomes", {}).values()),
                "bytes_out": peer.last.get("bytes", {}).get("out", 0),
                **peer.last.get("process", {}),
            }
            for peer, answers in zip(peers, answered, strict=True)
        ]
        return node

    async def _counters(self, peer: Peer) -> bool:
        """Whether it told its counters anew; the latest it told are in `last`."""
        try:
            peer.last = await peer.caller.ask("stats", timeout=SOON)
        except (Gone, ValueError):
            return False
        return True

    async def purge(self, wanted: PurgeRequest) -> Reached:
        """In force on every worker when it returns, also for what is on its way from an origin; where there is a bus,
        it is on its way to every other node.

        ValueError with one sentence for what is no purge; then nothing is purged. UnavailableError.
        """
        wanted.names()
        if self.bus is None:
            try:
                reached = Reached(await self.carry_out(wanted))
            except JournalBusyError as error:
                raise UnavailableError(f"{error}; nothing is purged, try again") from error
            await self._noted()
        else:
            reached = await self._purge_everywhere(self.bus, wanted)
        self._purges["requests"] += 1
        self._purges["reached"] += reached.count
        return reached

    async def _purge_everywhere(self, bus: Bus, wanted: PurgeRequest) -> Reached:
        try:
            count, sequence = await bus.purge(wanted)
        except NotToldError as error:
            try:
                await self.carry_out(wanted)
            except JournalBusyError as busy:
                raise UnavailableError(f"{error}; {busy}; nothing is purged, try again") from busy
            await self._noted()
            raise UnavailableError(
                f"{error}: the purge is in force on this node alone; try again until the others have it, too"
            ) from error
        return Reached(count, sequence)

    async def carry_out(self, wanted: PurgeRequest, place: Place | None = None) -> int:
        """Purge on this node, on every worker; `place` is where the purge stands in the stream of all nodes.

        How many of the URLs had something stored, or with `all` how much was; tags, prefixes and hosts are noted and
        not counted. ValueError as `purge`, JournalBusyError.
        """
        names = wanted.names()
        keys = {key_of(self._table, url) for url in wanted.urls}
        objects = int(self._memory.stats()["objects"])
        if wanted.urls:
            found = await self._ask_all("equivalent_keys", list(wanted.urls))
            keys.update(*[these for these in found if these])
        self._purge_log.purge(
            names.tags,
            names.prefixes,
            names.hosts,
            wanted.soft,
            self._clock.now(),
            urls=keys,
            everything=wanted.all,
            place=place,
        )
        if wanted.all:
            return objects
        if not keys:
            return 0
        dropped = await self._ask_all("drop", keys, wanted.soft)
        counts = [count for count in dropped if count is not None]
        # what one worker has removed no other finds; what only gets stale all of them do
        return max(counts, default=0) if wanted.soft else sum(counts)

    def stored(self) -> int:
        """How many responses there are, in memory and on disk."""
        on_disk = 0 if self._disk is None else int(self._disk.shared_stats()["objects"])
        return int(self._memory.stats()["objects"]) + on_disk

    async def noted(self) -> None:
        """As `_noted`, where nobody waits: what is lost then is read from the stream again."""
        try:
            await self._noted()
        except UnavailableError as error:
            self._log.event("bus", f"bus: {error}", "warning")

    async def _noted(self) -> None:
        """What is noted is on disk when this returns, so that it outlives the node. UnavailableError."""
        try:
            await asyncio.to_thread(self._make_durable)
        except OSError as error:
            raise UnavailableError(
                f"the purge is in force, but not on disk ({error.strerror or error}), and is lost when the node "
                "ends; try again"
            ) from error

    async def explain(self, url: str, fields: list[tuple[str, str]]) -> Mapping[str, Any]:
        """As the first worker that answers sees it. ValueError for a bad URL, UnavailableError."""
        for peer in sorted(self.peers.values(), key=lambda peer: peer.number):
            try:
                answer: Mapping[str, Any] = await peer.caller.ask("explain", url, fields, timeout=SOON)
            except Gone:
                continue
            return answer
        raise UnavailableError("no worker answers; try again")

    async def _ask_all(self, name: str, *args: Any) -> list[Any]:
        """What each worker answers; None from one that has ended or hangs, which is not waited for each time."""

        async def one(peer: Peer) -> Any:
            now = time.monotonic()
            try:
                answer = await peer.caller.ask(name, *args, timeout=SOON if now >= peer.hung_until else HUNG)
            except Gone:
                peer.hung_until = time.monotonic() + HANGS
                return None
            peer.hung_until = 0.0
            return answer

        return await asyncio.gather(*(one(peer) for peer in self.peers.values()))

    # Reload

    async def reload(self) -> bool:
        """Takes the configuration file as it is now, in all workers or in none; a bad one is one line in the log."""
        async with self._reloading:
            await self._ask_all("reopen", None)
            if self._read_config is None:
                return False
            try:
                fresh = await asyncio.to_thread(self._read_config)
                merged, left = merge(self.config, fresh)
                await self._take(merged)
            except ValueError as error:
                return self._refuse(str(error))
            except Exception as error:
                return self._refuse(describe(error))
            old, log = self.config.access_log, merged.access_log
            self.config = merged
            if self.neighbours is not None:
                self.neighbours.configure(merged)
            if old is not None and log is not None and old.to != log.to:
                await self._ask_all("reopen", log.to)
            self._reloads["done"] += 1
            later = f"; {', '.join(left)} as before until the next start" if left else ""
            self._log.say(f"reloaded {self.config.source or 'the configuration'}{later}")
            return True

    def _refuse(self, why: str) -> bool:
        self._reloads["refused"] += 1
        self._log.say(one_line(f"reload: {why}; the old configuration stays", 600))
        return False

    async def _take(self, config: Config) -> None:
        """In two steps: all compile it, then all take it. What is stored is decided again when all have."""
        table = RouteTable(config.routes)
        generation = self._generation + 1
        try:
            prepared = [peer for peer, good in await self._prepare_all(config) if good]
            await self._publish(pickle.dumps(config), generation, config.timeouts.drain)
        except BaseException:
            await self._ask_all("discard")
            raise
        self._generation, self._table = generation, table
        # Who has come meanwhile was forked with the configuration of before, or with this one.
        late = [peer for peer in self.peers.values() if peer.generation < generation]
        await asyncio.gather(*(self._bring_up_to_date(peer, config, peer in prepared) for peer in late))
        self._begin_epoch()

    def _begin_epoch(self) -> None:
        try:
            self._purge_log.new_epoch(self._clock.now())
        except JournalBusyError as error:
            self._log.say(f"reload: {error}; what is stored stays as the old configuration decided it")

    async def _prepare_all(self, config: Config) -> list[tuple[Peer, bool]]:
        """Every worker, and whether it is ready to take the configuration; one that has ended is not needed for that.

        ValueError when one refuses or hangs.
        """
        peers = list(self.peers.values())

        async def one(peer: Peer) -> tuple[Peer, bool]:
            try:
                await peer.caller.ask("prepare", config, timeout=PATIENCE)
            except Gone as gone:
                if not peer.caller.ended:
                    raise ValueError(f"worker {peer.number} (process {peer.pid}): {gone}") from gone
                return peer, False
            return peer, True

        return await asyncio.gather(*(one(peer) for peer in peers))

    async def _bring_up_to_date(self, peer: Peer, config: Config, prepared: bool) -> None:
        """A worker that cannot follow the others is replaced: the next one is forked with the configuration."""
        try:
            if not prepared:
                await peer.caller.ask("prepare", config, timeout=PATIENCE)
            await peer.caller.ask("adopt", timeout=PATIENCE)
            peer.generation = self._generation
        except (Gone, ValueError) as error:
            if self.peers.get(peer.number) is peer and not peer.caller.ended:
                self._log.say(f"reload: worker {peer.number} (process {peer.pid}): {error}; it is replaced")
                self._kill(peer.number)


def _fills(node: Mapping[str, Any]) -> int:
    return int(node.get("store", {}).get("fills", 0))


def merge(old: Config, fresh: Config) -> tuple[Config, list[str]]:
    """The new configuration with what only a start can change kept as it is, and the names of those parts."""
    left = [name for name in _NEEDS_RESTART if getattr(old, name) != getattr(fresh, name)]
    merged = replace(fresh, **{name: getattr(old, name) for name in left})
    before, after = old.access_log, fresh.access_log
    if (before is None) != (after is None) or (before and after and before.format != after.format):
        left.append("log.access")
        merged = replace(merged, access_log=before)
    return merged, left
