from asyncio import AbstractEventLoop
from typing import Protocol, type_check_only

from cdn.proxy._clock import Clock

@type_check_only
class Sink(Protocol):
    @property
    def format(self) -> str: ...
    def write(self, chunk: bytes, /) -> bool: ...

class HitLog:
    """Access log lines of the hit lane, handed to the sink in batches."""

    lines: int
    def __init__(self, loop: AbstractEventLoop, sink: Sink, clock: Clock) -> None: ...
    def flush(self) -> None: ...
    def use(self, sink: Sink) -> None: ...
