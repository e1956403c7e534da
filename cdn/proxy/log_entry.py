"""What the access log is told of a request that was not answered by the hit lane. Knows no format and no sink."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(slots=True)
class LogEntry:
    """Texts are ISO-8859-1 as received; None where there is nothing to say."""

    time: int  # node time in ms, when the request's head was complete
    request_id: str
    client: str
    method: str
    host: str
    target: str
    protocol: str
    status: int = 0
    bytes_sent: int = 0  # of the body
    outcome: str = ""
    duration_us: int = 0
    no_store: str | None = None
    key_hash: str | None = None
    origin: str | None = None  # the server asked, as scheme://host:port
    origin_first_byte_us: int | None = None
    referer: str | None = None
    user_agent: str | None = None


class AccessSink(Protocol):
    """Where log lines go; never blocks. `write` takes ready lines in `format`, `entry` one request."""

    @property
    def format(self) -> str: ...

    def write(self, chunk: bytes, /) -> bool: ...

    def entry(self, entry: LogEntry, /) -> bool: ...
