"""Whom a shield believes to be an edge of its cluster, and whether it may answer that edge from what it has stored.

Decides by the word that a request brings (`rules.edge_word`) and by the purges that are in force here. Must not know
what is asked for.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from cdn.config.values import Config, Tier
from cdn.proxy._clock import Clock
from cdn.proxy._front import ClientStream
from cdn.proxy._words import Words
from cdn.proxy.purge_log import Place, PurgeLog
from cdn.rules.edge_word import FIELD, Edge, believe, lasting
from cdn.tier.shields import shared_secret

WAIT = 0.25  # seconds for purges that an edge knows and this node does not yet
IN_VAIN = 1.0  # seconds for which a wait that brought nothing is not repeated


def secret_of(config: Config) -> bytes | None:
    """What edges sign their words with. ValueError: it is not where the configuration says."""
    return shared_secret(config.edges.secret_env, "edges") if config.edges else None


class Edges:
    """One per worker; `adopt` before anything else. `words` is what the hit lane goes by."""

    def __init__(self, clock: Clock, purges: PurgeLog, report: Callable[[str, str], None]) -> None:
        self.words = Words()
        self._clock = clock
        self._purges = purges
        self._report = report
        self._secret: bytes | None = None
        self._shield = False
        self._bus = False
        self._vain: tuple[Place | None, float] | None = (
            None  # the place where waiting was in vain, until when
        )

    def adopt(self, config: Config, secret: bytes | None) -> None:
        self._shield = config.node.tier is Tier.SHIELD
        self._bus = config.bus is not None
        self._secret = secret
        self.words.trust(secret if self._shield else None)

    def find(self, stream: ClientStream, host: str) -> Edge | None:
        """The edge that this request comes from, where this node is a shield and believes its word."""
        if not self._shield:
            return None
        said = [value for name, value in stream.fields if name.lower() == FIELD]
        if len(said) != 1:
            return None
        edge = believe(
            said[0],
            self._secret,
            verified=stream.verified,
            now=int(time.time()),
            method=stream.method,
            host=host,
            target=stream.target.decode("latin-1"),
        )
        if edge is None:
            self._report("edge", f"a request of {stream.address} that says it is an edge's is not believed")
        return edge

    async def ahead(self, edge: Edge) -> bool:
        """Whether the edge knows purges that are not in force here; they are waited for, but not for long.

        What is stored must not answer it then: the edge would keep what it has purged.
        """
        if edge.place is None or not self._bus:
            return False
        wanted = Place(*edge.place)
        if self._reached(wanted):
            return False
        loop = asyncio.get_running_loop()
        end = loop.time() + WAIT
        if self._vain is not None and self._vain[0] == self._purges.applied() and loop.time() < self._vain[1]:
            return True
        pause = 0.001
        while loop.time() < end:
            await asyncio.sleep(pause)
            if self._reached(wanted):
                return False
            pause = min(2 * pause, 0.016)
        self._vain = (self._purges.applied(), loop.time() + IN_VAIN)
        self._report(
            "behind", "an edge knows purges that this shield does not yet: it is answered from the origin"
        )
        return True

    def _reached(self, wanted: Place) -> bool:
        applied = self._purges.applied()
        return applied is not None and applied.reaches(wanted)

    def remember(self, stream: ClientStream, edge: Edge) -> None:
        """Requests by which this edge says the same again may be answered by the hit lane, once it has checked their
        codes: nothing that is stored here is to be kept from it."""
        value = next(value for name, value in stream.fields if name.lower() == FIELD)
        found = lasting(value, int(time.time()))
        if found is not None:
            said, seconds = found
            self.words.believe(said, edge.scheme == "https", self._clock.now() + 1000 * seconds)
