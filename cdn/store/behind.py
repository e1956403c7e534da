"""What stands behind the memory store, as that one sees it: told what happens, asked for nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from cdn.store._memory import Entry


class Tier(Protocol):
    """Neither may raise or wait."""

    def stored(self, entry: Entry) -> None:
        """It was published, or its freshness was cut short."""

    def gone(self, key: bytes) -> None:
        """What was stored under exactly this key was removed."""
