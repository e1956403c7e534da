"""What `control` needs of a worker, and nothing more: the only way it touches the proxy.

`cdn.proxy.worker.Worker` is the real one. Tests use a small one of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from cdn.config.values import Config
from cdn.proxy.log_entry import AccessSink


class WorkerSeam(Protocol):
    """One worker: its listeners, its lanes, its store."""

    @property
    def ports(self) -> Sequence[int]:
        """The bound ports in the order of `config.listen`."""
        ...

    async def start(self) -> None:
        """Binds and listens. OSError when a port or file cannot be had (with `address` where it is a
        listener's port), ValueError or another error with one sentence when the store cannot be opened."""
        ...

    async def stop(self) -> None:
        """Closes everything at once."""
        ...

    async def drain(self, seconds: float) -> None:
        """No new connections; returns when the last exchange has ended, or after `seconds`."""
        ...

    def reload(self, config: Config) -> None:
        """Takes routes, origins, limits and timeouts of a new configuration; ValueError when it cannot."""
        ...

    def stats(self) -> Mapping[str, Any]:
        """Counters since the start, nested by name; every leaf a number or a text. See docs/operations.md."""
        ...

    def purge(
        self,
        urls: list[str],
        all: bool,
        soft: bool,
        tags: Sequence[str] = (),
        prefixes: Sequence[str] = (),
        hosts: Sequence[str] = (),
    ) -> int:
        """How many stored objects the URLs or `all` reached; tags, prefixes and hosts are noted and not counted.

        ValueError with one sentence for what it refuses; then nothing is purged.
        """
        ...

    def explain(self, url: str, fields: list[tuple[str, str]]) -> Mapping[str, Any]:
        """Which route, which key, stored or not, and why; ValueError with one sentence for a bad URL."""
        ...


# The configuration, where access log lines go, and where `report(kind, sentence)` puts those of the node's
# log.
WorkerFactory = Callable[[Config, AccessSink | None, Callable[[str, str], None]], WorkerSeam]
