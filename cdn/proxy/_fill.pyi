from asyncio import AbstractEventLoop
from typing import final

from cdn.proxy._front import Lane
from cdn.proxy._lane import HitLane
from cdn.proxy._log import HitLog
from cdn.proxy.disk import DiskTier
from cdn.proxy.flight import Flight
from cdn.proxy.site import Site

@final
class Passage:
    """One exchange of the fill lane."""

    def flight(self) -> Flight:
        """The flight that others board; made when the first of them asks."""

class FillLane(Lane):
    """Takes plain misses and passes to http origins; one per worker. `use` it before the first request."""

    enabled: bool
    disk: DiskTier | None  # the site's
    handed_over: int
    active: int
    def __init__(self, site: Site, hit: HitLane, log: HitLog | None, loop: AbstractEventLoop) -> None: ...
    def use(self) -> None:
        """Take over the site's configuration."""
    def flush(self) -> None:
        """Give what was counted to the site's counters."""
