"""Types of what a lane reads of servers; see `_standing.pyx`."""

from collections.abc import Iterable

from typing_extensions import disjoint_base

from cdn.tier._wire import Pool
from cdn.tier.figures import Figures
from cdn.tier.health import Health
from cdn.tier.own import OwnServer

@disjoint_base
class Tally:
    def __init__(self, bounds: tuple[int, ...], newest: float) -> None: ...
    @property
    def worked(self) -> int: ...
    @property
    def average_ms(self) -> float: ...
    @property
    def seconds(self) -> float: ...
    @property
    def buckets(self) -> list[int]: ...
    def answered(self, first_byte_ms: float) -> None: ...

@disjoint_base
class Standing:
    draining: bool
    plain: bool
    steady: bool

@disjoint_base
class Member:
    pool: Pool
    figures: Figures
    health: Health
    limit: int | None
    seed: int
    weight: int
    credit: float
    connecting: int
    reserved: int
    @property
    def busy(self) -> int: ...
    @property
    def suspect(self) -> frozenset[int]: ...
    def watch(self, statuses: Iterable[int]) -> None: ...

@disjoint_base
class Choice:
    only: OwnServer | None
    promised: OwnServer | None
    homes: tuple[OwnServer, ...]
    rivals: tuple[OwnServer, ...]
    def home(self, key: int) -> OwnServer | None: ...
    def freest(self) -> OwnServer | None: ...
