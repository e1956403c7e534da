"""What `control` needs of a worker, and nothing more: the only way it touches the proxy's serving.

`cdn.proxy.worker.Worker` is the real one. Tests use a small one of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from cdn.config.values import Config
from cdn.proxy.log_entry import AccessSink
from cdn.proxy.shared import Shared


class WorkerSeam(Protocol):
    """One worker: its part of the listeners, its lanes, its connections to origins."""

    async def start(self) -> None:
        """Serves. OSError, ValueError or store.StoreError with one sentence when it cannot."""
        ...

    async def stop(self) -> None:
        """Closes everything at once."""
        ...

    async def drain(self, seconds: float) -> bool:
        """No new connections; returns when the last exchange has ended, or after `seconds` with False."""
        ...

    def prepare(self, config: Config) -> None:
        """Everything that can fail of taking a new configuration; ValueError when it cannot, and nothing is changed."""
        ...

    def discard(self) -> None:
        """What was prepared is not taken."""
        ...

    def adopt(self) -> None:
        """Takes routes, origins, limits and timeouts of what was prepared."""
        ...

    def stats(self) -> Mapping[str, Any]:
        """Counters since the start, nested by name; every leaf a number or a text. See docs/operations.md."""
        ...

    def equivalent_keys(self, urls: Sequence[str]) -> set[bytes]:
        """Keys that it answers these URLs from, beside their own; ValueError with one sentence for a bad URL."""
        ...

    def drop(self, keys: Iterable[bytes], soft: bool) -> int:
        """Of a purge that is in force: free what lies under these keys; how many had something stored."""
        ...

    def explain(self, url: str, fields: list[tuple[str, str]]) -> Mapping[str, Any]:
        """Which route, which key, stored or not, and why; ValueError with one sentence for a bad URL."""
        ...


# The configuration, what all workers have in common, where access log lines go, and where `report(kind, sentence)`
# puts those of the node's log.
WorkerFactory = Callable[[Config, Shared, AccessSink | None, Callable[[str, str], None]], WorkerSeam]
