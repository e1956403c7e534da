from collections.abc import Iterable

from cdn.proxy._clock import Clock
from cdn.proxy._routes import RouteTable
from cdn.proxy._variants import Normaliser
from cdn.proxy._words import Words
from cdn.store._journal import Journal
from cdn.store._memory import Memory

class NameSet:
    """The host names a TLS listener's certificate covers; `*.x` covers one label."""

    names: tuple[str, ...]
    def __init__(self, names: Iterable[str]) -> None: ...
    def __contains__(self, host: str) -> bool: ...

class HitLane:
    """Answers fresh hits; one per worker."""

    enabled: bool
    routes: RouteTable
    memory: Memory
    journal: Journal
    clock: Clock
    def __init__(
        self,
        memory: Memory,
        journal: Journal,
        clock: Clock,
        name: str,
        normaliser: Normaliser,
        words: Words,
    ) -> None: ...
    def use(self, routes: RouteTable) -> None: ...
    def stats(self) -> dict[str, int]: ...

def compose_head(
    head: bytes,
    status_line_len: int,
    lines_304: int,
    status_as: int = 0,
    content_length: int = -1,
    first: int = 0,
    total: int = 0,
    age: int = -1,
) -> bytes:
    """A stored head as the head of what was stored (0), a 206 or a 304; Content-Length and Age appended."""
