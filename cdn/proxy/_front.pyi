from asyncio import AbstractEventLoop, Protocol, Task
from collections.abc import Callable
from socket import socket
from typing import Any, final

from cdn.config.values import Limits, Timeouts
from cdn.proxy._lane import HitLane, NameSet
from cdn.proxy._log import HitLog
from cdn.proxy.source import Source

class Board:
    """How many connections each worker of a node has, in memory that forked processes share. ValueError for a worker
    that is none."""

    workers: int
    me: int
    def __init__(self, workers: int) -> None: ...
    def sit(self, worker: int) -> None:
        """This process is that worker, and has no connection yet."""
    def lightest(self) -> int | None:
        """The worker with fewest connections, if this one has more than its share."""
    def coming(self, worker: int, more: int = 0) -> int:
        """So many more (or fewer) were given to a worker and not taken yet; how many those are."""
    def open(self, worker: int) -> int: ...
    def shun(self, worker: int, on: bool) -> None:
        """Whether this process leaves a worker out of account."""

class Wheel:
    """Deadlines of all connections of a worker, in whole seconds."""

    def __init__(self, loop: AbstractEventLoop) -> None: ...
    def close(self) -> None: ...

@final
class Lookout:
    """Whether a worker looks for events for up to `most` ns before it sleeps: while its last pauses were shorter on
    average. 0: never."""

    most: int
    mean: int
    looking: bool
    looks: int
    vain: int
    def __init__(self, loop: AbstractEventLoop, most: int) -> None: ...

@final
class Entrance:
    """The plain listeners of a worker, and the connections that come in there. Made inside its loop; OSError."""

    def __init__(self, loop: AbstractEventLoop, lookout: Lookout) -> None: ...
    def listen(self, sock: socket, front: Front) -> None:
        """Accept from this socket, which is the entrance's from now on. OSError."""
    def take(self, front: Front, fd: int) -> None:
        """Serve a connection that another worker has accepted; its descriptor is the entrance's from now on."""
    def end(self) -> None:
        """Accept nobody but who is in the queues now."""
    def shut(self) -> None:
        """Accept nobody."""
    def close(self) -> None:
        """Behind `Front.abort`, once the loop has had a turn."""

class Census:
    """Who is connected to this worker, over all listeners; refuses what is over the limits."""

    accepted: int
    refused: int
    open: int
    cut_for_memory: int
    board: Board | None
    def __init__(self, most: int, most_per_address: int, board: Board | None = None) -> None: ...
    def enter(self, address: str) -> bool:
        """Count a connection in; False when that is one too many (it counts all the same, until it leaves)."""
    def leave(self, address: str) -> None: ...
    def stats(self) -> dict[str, Any]: ...

class ClientStream:
    """One request and its answer, as the exchange sees them.

    Everything that writes raises ConnectionResetError once the client has left; `task` is cancelled then, too.
    """

    method: str
    target: bytes
    version: tuple[int, int]
    fields: list[tuple[str, str]]
    secure: bool
    address: str
    body_length: int | None
    has_body: bool
    upgrade: bool
    began: int
    task: Task[None] | None
    source: Source | None
    status: int
    started: bool
    finished: bool
    gone: bool
    bytes_sent: int
    async def read(self) -> bytes:
        """The next bytes of the request body, b"" at its end; ValueError when its framing broke or it is too large."""
    def whole(self) -> bytes | None:
        """All of it, where it is here, of a declared length, and not read from; else None."""
    def interim(self, head: bytes) -> None: ...
    def start(self, head: bytes, status: int, length: int | None) -> None:
        """Write the final head, given without framing fields; `length` None when unknown, < 0 for no framing field."""
    def start_stored(self, head: bytes, status: int, length: int) -> None:
        """Write a head that has its framing already; `length` body bytes follow."""
    def write(self, data: bytes) -> None: ...
    async def drain(self) -> None: ...
    def finish(self) -> None: ...
    def cut(self) -> None: ...
    def covers(self, host: str) -> bool: ...
    @property
    def verified(self) -> bool: ...
    def elapsed_us(self) -> int: ...
    @property
    def body_broken(self) -> bool: ...
    @property
    def closing(self) -> bool: ...
    def no_keep_alive(self) -> None: ...
    def become_tunnel(self, head: bytes, receive: Callable[[bytes | None], None]) -> None: ...
    def tunnel_write(self, data: bytes) -> None: ...
    def tunnel_hold(self, hold: bool) -> None: ...
    def tunnel_end(self) -> None: ...

class Lane:
    """A lane behind the hit lane; this one takes nothing."""

class Front:
    """One listener of one worker."""

    secure: bool
    draining: bool
    census: Census
    lookout: Lookout
    loop: AbstractEventLoop
    connections: set[Any]
    give: Callable[[int], bool] | None  # needs a census with a board
    def __init__(
        self,
        loop: AbstractEventLoop,
        lane: HitLane,
        wheel: Wheel,
        census: Census,
        lookout: Lookout,
        exchange: Callable[[ClientStream], None],
        refuse: Callable[[ClientStream, int, str], None],
        *,
        secure: bool,
        names: NameSet | None,
        log: HitLog | None,
        limits: Limits,
        timeouts: Timeouts,
        second: Lane | None = None,
    ) -> None: ...
    def configure(self, limits: Limits, timeouts: Timeouts) -> None: ...
    def covers(self, host: str) -> bool: ...
    def protocol(self) -> Protocol:
        """For a new connection over TLS, which the census has already."""
    def drain(self) -> None: ...
    def holders(self) -> list[tuple[float, Protocol]]:
        """Those of its connections for which memory of the store is held, each behind its bytes a second."""
    @staticmethod
    def loosen(connection: Protocol) -> bool:
        """Hold nothing for one of `holders` any more. False: that cannot be had without cutting it."""
    @staticmethod
    def cut(connection: Protocol) -> None:
        """End one of `holders`; what it held is free once its exchange has noticed."""
    def abort(self) -> None: ...
