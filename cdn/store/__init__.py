"""One catalogue per node: lookup, fills, eviction, purge. Knows keys, bytes and times; not HTTP, not sockets.

`Memory` is the store, `Entry` what a lookup gives, `Fill` a body on its way in, `Draft` a record before it is
published, `Loose` a body that is read without being held, `Journal` what all processes of a node are told of purges.
`open_memory` makes the store that a configuration asks for, or says in one sentence why it cannot be had.
"""

from __future__ import annotations

from cdn.store._journal import Journal, JournalBusyError
from cdn.store._memory import (
    ABORTED,
    COMMITTED,
    DONE,
    POLICIES,
    STREAMING,
    WAITING,
    Entry,
    Fill,
    FillState,
    Loose,
    Memory,
    StoreBusyError,
)
from cdn.store.opening import StoreError, open_memory
from cdn.store.record import Draft, RecordFlag

__all__ = [
    "ABORTED",
    "COMMITTED",
    "DONE",
    "POLICIES",
    "STREAMING",
    "WAITING",
    "Draft",
    "Entry",
    "Fill",
    "FillState",
    "Journal",
    "JournalBusyError",
    "Loose",
    "Memory",
    "RecordFlag",
    "StoreBusyError",
    "StoreError",
    "open_memory",
]
