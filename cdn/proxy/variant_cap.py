"""How many variants of one URL stay: at most so many that a URL cannot crowd out the others.

Counts what this worker has filled; must not know what makes two responses variants of each other.
"""

from __future__ import annotations

from collections import OrderedDict

from cdn.proxy import stored_parts, stored_slices
from cdn.proxy.drafts import stored_of
from cdn.proxy.purge_log import PurgeLog
from cdn.rules.stored import Stored
from cdn.store import Entry, Memory

URLS = 4_096  # whose variants are counted
VARIANTS = 64  # of one URL; the one filled longest ago goes


class VariantCap:
    """One per worker, for all URLs; keys are those of the store."""

    def __init__(self, memory: Memory, purges: PurgeLog) -> None:
        self._memory = memory
        self._purges = purges
        self._filled: OrderedDict[bytes, dict[bytes, None]] = (
            OrderedDict()
        )  # by primary key, longest ago first

    def filled(self, primary: bytes, key: bytes) -> None:
        """One more variant of a URL, or one anew."""
        keys = self._filled.get(primary)
        if keys is None:
            keys = self._filled[primary] = {}
            if len(self._filled) > URLS:
                self._filled.popitem(last=False)
        else:
            self._filled.move_to_end(primary)
            keys.pop(key, None)
        keys[key] = None
        while len(keys) > VARIANTS:
            oldest = next(iter(keys))
            del keys[oldest]
            self._memory.remove(oldest)
            stored_parts.drop(self._memory, primary, oldest)
            stored_slices.drop(self._memory, oldest)

    def stored(self, primary: bytes) -> list[tuple[Entry, Stored]]:
        """What is stored of a URL's variants, as far as this worker has counted them."""
        out: list[tuple[Entry, Stored]] = []
        keys = self._filled.get(primary)
        if keys is None:
            return out
        self._filled.move_to_end(primary)
        for key in keys:
            entry = self._memory.lookup(key)
            if entry is not None and self._purges.current(entry.stamp, key):
                out.append((entry, stored_of(entry)))
        return out
