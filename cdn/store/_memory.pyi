from collections.abc import Callable
from enum import IntEnum
from typing import final

from cdn.store.behind import Tier
from cdn.store.record import Draft

POLICIES: tuple[str, ...]

class FillState(IntEnum):
    """WAITING: no head yet. STREAMING: the body arrives. COMMITTED: whole and stored. DONE: whole, not stored
    (`reason` says why). ABORTED: given up, what arrived is not the whole body."""

    WAITING = 0
    STREAMING = 1
    COMMITTED = 2
    DONE = 3
    ABORTED = 4

WAITING: FillState
STREAMING: FillState
COMMITTED: FillState
DONE: FillState
ABORTED: FillState

class StoreBusyError(OSError):
    """A process that does not run holds the store's lock."""

@final
class Entry:
    """A stored response, pinned: its bytes stay what they are until `release` or until this object goes.

    Every property and `read` raise ValueError after `release`. Made by the store only (else TypeError).
    """

    def __init__(self, *args: object, **kwargs: object) -> None: ...
    @property
    def status(self) -> int: ...
    @property
    def flags(self) -> int: ...
    @property
    def stamp(self) -> int: ...
    @property
    def born(self) -> int: ...
    @property
    def fresh_until(self) -> int: ...
    @property
    def swr_until(self) -> int: ...
    @property
    def sie_until(self) -> int: ...
    @property
    def response_time(self) -> int: ...
    @property
    def last_modified(self) -> int | None:
        """Seconds since the epoch."""

    @property
    def etag(self) -> bytes | None:
        """The entity-tag as in the head, quotes and W/ included."""

    @property
    def etag_offset(self) -> int: ...
    @property
    def lines_304(self) -> int: ...
    @property
    def status_line_len(self) -> int: ...
    @property
    def body_length(self) -> int: ...
    @property
    def key(self) -> bytes: ...
    @property
    def head(self) -> bytes: ...
    @property
    def meta(self) -> bytes: ...
    @property
    def key_hash(self) -> str:
        """16 hex digits of the table's hash, which is keyed: the same for one node only."""

    @property
    def current(self) -> bool:
        """Whether this is what a lookup of its key would find now."""

    @property
    def released(self) -> bool: ...
    def read(self, offset: int = 0, length: int | None = None) -> bytes:
        """Body bytes [offset, offset + length), less where the body ends before."""

    def touch(self, now: int) -> None:
        """Count as a use, for eviction."""

    def draft(self) -> Draft:
        """A draft with everything this entry was published with; `dataclasses.replace` it and `republish`."""

    def loosen(self) -> Loose | None:
        """What finds this body again without holding it; the entry stays as it is. None: it would not be found now."""

    def release(self) -> None: ...

@final
class Loose:
    """A stored body that is not held: looked for whenever more of it is wanted, by its key and only the same one (the
    same response, or one of the same length with the same strong entity-tag). Made by `Entry.loosen` only (else
    TypeError)."""

    def __init__(self, *args: object, **kwargs: object) -> None: ...
    def read(self, offset: int, n: int, now: int) -> bytes | None:
        """Body bytes [offset, offset + n), less where the body ends before. None: it is gone. `now` is node time: to
        read is a use, for eviction."""

@final
class Fill:
    """A body on its way into the store under one key. Dropped without `commit`, it never existed.

    `remote`: another worker fills it and this process follows; it is read like any other, and what the filler alone may
    do raises ValueError or does nothing. Where the store's lock was not to be had, or too many fills are under way,
    a fill is made that nobody else sees: it is `detached` and `start` says False (reason "busy").

    Callbacks are called without arguments on every change of state and every arrival. They must not raise;
    what they raise goes to `sys.unraisablehook`. Made by the store only (else TypeError).
    """

    def __init__(self, *args: object, **kwargs: object) -> None: ...
    @property
    def key(self) -> bytes: ...
    @property
    def stamp(self) -> int:
        """The decision epoch when the fill began: a response is as old as its request."""

    @property
    def state(self) -> FillState: ...
    @property
    def reason(self) -> str | None:
        """Why it was aborted, detached or not stored."""

    @property
    def draft(self) -> Draft | None:
        """What `start` was given; followers read it to judge whether the response is for them."""

    @property
    def length(self) -> int | None: ...
    @property
    def arrived(self) -> int: ...
    @property
    def purged(self) -> bool: ...
    @property
    def detached(self) -> bool: ...
    @property
    def lost(self) -> bool:
        """The worker that filled it has died."""

    @property
    def remote(self) -> bool: ...
    @property
    def joinable(self) -> bool:
        """Still registered under its key, so that `begin_fill` gives it to others."""

    @property
    def ended(self) -> bool:
        """The whole body is there: COMMITTED or DONE."""

    @property
    def entry(self) -> Entry | None:
        """What was published: one for all who read along in this process. Of a remote fill it is there as soon as this
        process has heard of it."""

    @property
    def released(self) -> bool: ...
    def release(self) -> None:
        """Hold no `entry` any more: it is pinned for as long as those keep it who have taken it. `read` raises
        ValueError from then on. Nothing happens before there is one."""

    def start(self, draft: Draft, length: int | None) -> bool:
        """The head is judged storable. False: no space could be made (reason "no-space"; nothing has changed,
        the caller aborts, or streams through a `detach`ed fill)."""

    def write(self, data: bytes | bytearray | memoryview) -> bool:
        """Append. False: no space could be made and nothing of `data` was taken. ValueError beyond
        `length`."""

    def read(self, offset: int, n: int) -> bytes:
        """Up to n bytes of what has arrived; b"" when there is nothing at `offset` (yet). ValueError before
        what `release_before` gave back. After `abort` there is nothing."""

    def commit(self, **changes: object) -> Entry | None:
        """The body is proven complete: publish it, the draft's fields replaced by `changes`. None: it is
        not stored (detached, purged or no space: see `reason`), the state is DONE and readers go on."""

    def store_at_once(self, draft: Draft, body: bytes) -> bool:
        """`start`, `write` and `commit` in one step, for a body that is all here while nobody follows the fill. False:
        nothing has happened (somebody follows, it was purged, the body needs blocks, or there is no room at once), and
        the steps say what becomes of it."""

    def abort(self, reason: str) -> None: ...
    def detach(self, reason: str = "too-large") -> None:
        """From now on never stored and never joined; those who read it go on. Idempotent."""

    def release_before(self, offset: int) -> None:
        """Of a detached fill: give memory back that lies wholly before `offset`."""

    def subscribe(self, callback: Callable[[], object]) -> None: ...
    def unsubscribe(self, callback: Callable[[], object]) -> None: ...

@final
class Memory:
    """The cache of one node in one mapping of exactly `size` bytes, taken whole at once.

    size    bytes, everything included; at least 1 MiB
    secret  16 bytes: the key of the table's hash
    objects how many objects the index may have room for; default one per KiB of size
    first   for how many it has room before it grows; default a 32nd of `objects`, at least 8192
    sample  how many entries an eviction chooses among, where the policy samples
    hash_bits  how much of the hash is used: less only to make keys collide
    policy  who goes when there is no room: one of POLICIES
    workers how many processes may share it, at most 64; 0: the one that makes it uses it alone

    Shared: the mapping and a wake-up for each worker are inherited by `fork`. Each child attaches once and watches
    `wake_fileno`; the parent reaps the dead. A process that is not attached may use the store before the first
    child does, and reap; it does not share what it begins.

    ValueError for a bad argument, OSError when the memory cannot be had.
    """

    def __new__(
        cls,
        size: int,
        secret: bytes,
        objects: int | None = None,
        sample: int = 16,
        hash_bits: int = 64,
        workers: int = 0,
        policy: str = "lru",
        pinned: int = 25,
        first: int | None = None,
    ) -> Memory: ...
    tier: Tier | None
    """What stands behind this one: told of what is stored and what is removed, but not of what is evicted."""

    now: int
    """The latest node time told (by `touch`, a draft's response_time, or set here): eviction compares with
    it. It never goes back."""

    @property
    def stamp(self) -> int: ...
    def begin_at(self, stamp: int) -> None:
        """Before any process shares it: the epoch is this one, if it is not later already."""

    def next_stamp(self) -> int:
        """A new decision epoch: whatever was decided before is decided again when it is next asked for."""

    @property
    def size(self) -> int: ...
    @property
    def policy(self) -> str: ...
    @property
    def largest(self) -> int:
        """No body longer than this can be stored."""

    @property
    def fileno(self) -> int: ...
    def attach(self, worker: int) -> None:
        """Be worker number `worker` from now on: once, after the fork. ValueError for a number that there is not;
        RuntimeError while a predecessor's things cannot be given back."""

    def reap(self, worker: int) -> bool:
        """That worker is dead (after waitpid): give back what it held, void its fills, mend what it left half-made.
        False: not now, since somebody holds the lock and does not run; call it again."""

    @property
    def worker(self) -> int | None: ...
    @property
    def crowded(self) -> bool:
        """Whether workers hold more than `pinned` percent of the pages; what several of them hold counts for each. All
        are woken when that is so and room is wanted; again when it has got much worse, or after `relieved`."""

    def relieved(self) -> None:
        """Something has been let go."""

    @property
    def wake_fileno(self) -> int | None:
        """Readable when another worker has news of what is followed here; then call `woken`."""

    def woken(self) -> None: ...
    def lookup(self, key: bytes) -> Entry | None: ...
    def begin_fill(self, key: bytes, since: Fill | None = None) -> tuple[Fill, bool]:
        """The fill in flight for `key` and False, or a new one and True.

        `since`: the fill whose request brought the response (a variant's key is known only then): the new
        one is as old, and as purged, as that one. Call it before that one is aborted or let go.
        """

    def publish(
        self,
        key: bytes,
        draft: Draft,
        body: bytes | bytearray | memoryview = b"",
        tell: bool = True,
        aside: bool = False,
    ) -> Entry | None:
        """Store at once. None: no space could be made. `tell`: the tier, too; it knows what came from there.
        `aside`: it lies behind the key of something else; the fill lane looks for such only once there was one."""

    def begin_marker(self, key: bytes, meta: bytes, body: bytes, now: int, until: int) -> bool:
        """Store a vary marker where nothing lies, of use from `now` `until` then (node time), at less cost than
        `exchange`. False: that has to find out why not."""

    def exchange(
        self, key: bytes, old: Entry | None, draft: Draft, body: bytes | bytearray | memoryview = b""
    ) -> Entry | None:
        """`publish` in the place of `old`, None: of nothing. None also where something else lies there by now."""

    def republish(self, entry: Entry, draft: Draft, tell: bool = True) -> Entry | None:
        """A new record over the same body. None: no space, or the entry is not `current` any more."""

    def remove(self, key: bytes, tell: bool = True) -> bool:
        """Remove what is stored under exactly this key, from the tier too. Fills in flight are not touched."""

    def invalidate(self, key: bytes) -> bool:
        """The same, and its fill in flight will not be stored."""

    def void(self, key: bytes) -> None:
        """The fill in flight for this key will not be stored, and nobody joins it any more."""

    def purge(self, key: bytes, soft: bool = False, now: int | None = None) -> int:
        """Purge `key` and every key that begins with it (its variants), and void their fills in flight.
        Returns how many stored objects this reached. Looks at every stored key. StoreBusyError, and nothing is done,
        where the lock is not to be had."""

    def soft_purge(self, key: bytes, now: int | None = None) -> bool:
        """What is stored under exactly this key stops being fresh now; it may still be revalidated or
        served stale. Voids its fill in flight."""

    def remember_uncacheable(self, key: bytes, until: int, reason: int = 0) -> None:
        """For all workers, until that node time: the last answer under this key could not be stored. A hint: it may
        be forgotten sooner. `reason`: any number up to 255."""

    def uncacheable(self, key: bytes, now: int) -> int | None:
        """The reason while it is remembered."""

    @staticmethod
    def least_to_move(
        spans: list[tuple[int, int]], top: int, floor: int, want: int, most: int
    ) -> tuple[int, int, int] | None:
        """For tests. Of spans (at, length), the highest first, between `floor` and `top`: the least that has to be
        moved for the gaps around neighbours to come to `want`, and which, [first, behind); None: more than `most`.
        """

    @staticmethod
    def arm(step: int, signal: int, after: int = 1) -> None:
        """For tests: when this process reaches that marked step of a critical section for the `after`-th time, it
        sends itself the signal. ValueError for a step that there is not."""

    def purge_all(self, soft: bool = False, now: int | None = None) -> int: ...
    def keys(self, limit: int | None = None) -> list[bytes]: ...
    def stats(self) -> dict[str, int | float]: ...
    def audit(self) -> dict[str, int]:
        """Read everything and check that it adds up; ValueError says what does not. Slow: for tests.

        Counts of records: `published`, `retired` (kept by their pins only), `pinned`; and of what fills hold:
        `filling_runs`, `filling_blocks`.
        """

    def account(self) -> dict[str, int]:
        """Where `size` goes: bytes of each table, of records and objects, and what is free; they add up to it.

        Raises StoreBusyError.
        """
