"""What a flight is sent out with, and what it comes to for those who wait: the words between those two.

Values and nothing more: who decides them, and what follows for a client, is said where they are used.
"""

from __future__ import annotations

from dataclasses import dataclass

from cdn.proxy.content import Held
from cdn.proxy.splicing import Completion
from cdn.rules.message import Fields, RequestHead, ResponseHead
from cdn.rules.outcome import NoStoreReason
from cdn.rules.stored import Stored
from cdn.store import Draft, Entry, Fill
from cdn.tier import Attempt, OriginError, OriginResponse

# Reasons that lie in the leader's request and say nothing about anybody else's.
OF_THE_REQUEST = frozenset(
    {NoStoreReason.AUTHORIZATION, NoStoreReason.REQUEST_NO_STORE, NoStoreReason.BYPASS, NoStoreReason.METHOD}
)
# Reasons of another worker's response: nobody need wait for the next one.
FREES = frozenset(reason.value for reason in NoStoreReason) - {
    reason.value for reason in (*OF_THE_REQUEST, NoStoreReason.TRUNCATED, NoStoreReason.PURGED)
}


@dataclass(slots=True)
class NotStored:
    """`response` is for the leader alone; `claimed` once somebody reads it."""

    response: OriginResponse | None  # None: its lane has it
    reason: NoStoreReason
    head: ResponseHead
    claimed: bool = False


@dataclass(slots=True)
class Streaming:
    fill: Fill
    stored: Stored
    spec: tuple[str, ...]
    extras: tuple[bytes, ...]
    key_hash: str
    aged: bool  # the response had an Age already: it came from a cache
    for_leader: Draft | None  # where fields are for the one client only (`private="name"`, `no-cache="name"`)


@dataclass(slots=True)
class Validated:
    """The stored response as the 304 left it; `entry` is what is published now, or the old one's body."""

    entry: Entry
    stored: Stored
    reason: NoStoreReason | None


@dataclass(slots=True)
class Broken:
    """`error`, or a response with an error status (for the leader, as in `NotStored`)."""

    error: OriginError | None
    answer: NotStored | Streaming | None


@dataclass(slots=True)
class Again:
    """Nothing for anybody here: look again at what is stored. `reason`: why another worker gave its fill up."""

    reason: str | None

    @property
    def uncacheable(self) -> bool:
        return self.reason in FREES


Verdict = NotStored | Streaming | Validated | Broken | Again


@dataclass(slots=True)
class Asked:
    """What a flight is sent out with.

    `query` is the keyed one; `known` the stored response that is validated; `candidates` the variants that were asked
    about where none of them matches; `completion` the stored parts whose missing bytes are asked for; `attempt` what a
    lane has done of it already.
    """

    request: RequestHead
    primary: bytes
    query: str | None
    fields: Fields
    known: tuple[Entry, Stored] | None
    candidates: list[tuple[Entry, Stored]]
    specs: tuple[tuple[str, ...], ...]
    peer: str
    trusted: bool
    content: Held | None = None  # of a QUERY
    completion: Completion | None = None
    attempt: Attempt | None = None
