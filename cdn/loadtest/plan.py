"""What a load test is: every choice of the user as one value, checked against each other.

Decides nothing about how it is done.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from cdn.loadtest.errors import LoadTestError
from cdn.loadtest.target import PLACE, Target

MOST_CONNECTIONS = 50_000
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_TAKEN = {"content-length", "transfer-encoding", "upgrade", "expect"}


@dataclass(frozen=True, slots=True)
class Plan:
    """Times are seconds; `rate` None is a closed loop. One of `objects`, `urls`, `trace` at most."""

    target: Target
    duration: float = 10.0
    connections: int = 64
    rate: float | None = None  # requests per second, of all connections
    timeout: float = 10.0
    fields: tuple[tuple[str, str], ...] = ()
    objects: int | None = None  # numbers 0 … objects - 1 in the URL's {}
    urls: Path | None = None
    trace: Path | None = None
    zipf: float | None = None
    seed: int = 1
    http2: bool = False
    insecure: bool = False
    ca: Path | None = None

    @property
    def one_url(self) -> bool:
        return self.objects is None and self.urls is None and self.trace is None

    def check(self) -> None:
        """LoadTestError for the first thing that does not fit."""
        if self.connections > MOST_CONNECTIONS:
            raise LoadTestError(
                f"--connections: at most {MOST_CONNECTIONS}, as one address has no more ports"
            )
        if not self.target.tls and (self.insecure or self.ca is not None):
            option = "--insecure" if self.insecure else "--ca"
            raise LoadTestError(f"{option} is about certificates: the URL has to begin with https://")
        sources = [self.objects is not None, self.urls is not None, self.trace is not None]
        if sum(sources) > 1:
            raise LoadTestError("give one of --objects, --urls and --trace")
        if self.objects is not None and PLACE not in self.target.path:
            raise LoadTestError(f"--objects needs a {PLACE} in the path of the URL, where the number goes")
        if self.objects is None and PLACE in self.target.path:
            raise LoadTestError(f"the URL has a {PLACE}: say with --objects how many there are")
        if self.zipf is not None and (self.one_url or self.trace is not None):
            raise LoadTestError("--zipf draws from --objects N or from --urls FILE: give one of them")
        for name, value in self.fields:
            if not _TOKEN.fullmatch(name):
                raise LoadTestError(f"-H {name!r}: a field is written 'Name: value'")
            if name.lower() in _TAKEN:
                raise LoadTestError(f"-H {name}: cannot be set, as only GET without a body is sent")
            if any(c in "\r\n\0" or ord(c) > 255 for c in value):
                raise LoadTestError(f"-H {name}: the value has a line break or a character beyond Latin-1")

    @property
    def profile(self) -> str:
        """What is asked for, in words."""
        how = f"Zipf {self.zipf:g} over" if self.zipf is not None else "uniform over"
        if self.objects is not None:
            return f"{how} {self.objects:,} objects, seed {self.seed}"
        if self.urls is not None:
            return f"{how} the URLs of {self.urls}, seed {self.seed}"
        return f"the trace {self.trace}" if self.trace is not None else "one URL"
