"""The purge log: what was purged or invalidated, noted instead of carried out, for every worker of a node at once.

A purge costs the same whatever is stored: it notes names and begins a new decision epoch, or notes a URL and begins one
for that URL (and the few that share its bucket). A record of an earlier epoch is decided again before it is used, and
is looked up here then; a fill is as old as its request, so what was asked before a purge counts as purged when it
arrives. Decides which purges reach a record; must not know where records lie.

The notes stand in the store's journal, which all processes of the node share; each keeps an index of them and reads on
when it is asked. Both are bounded. When the oldest note is forgotten, everything of that kind and older has to be
validated before it is used again: nothing purged comes back, and nothing is lost that the origin confirms.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from hashlib import blake2b

from cdn.proxy.lookup import url_part
from cdn.rules.message import RequestHead
from cdn.rules.stored import Stored
from cdn.rules.tags import is_group, origin_of
from cdn.store import Journal

NAMES = 10_000  # notes of one kind
GROUPS = 16_384  # of all origins together
ORIGINS = 4_096  # whose latest invalidation is known
PATIENCE = 0.02  # seconds that a worker's loop may be held up by another process that writes


class Kind(IntEnum):
    """What a note is about; the numbers are the journal's."""

    TAG = 1
    PREFIX = 2
    HOST = 3
    GROUP = 4
    ORIGIN = 5
    URL = 6
    ALL = 7
    FORGOTTEN = 8  # notes are missing: whatever is older has to be validated
    PLACE = 9  # no purge: how far in the nodes' common stream the notes before it reach (`place`)


SOFT = 1  # flag of a note
_KEPT = {Kind.TAG: NAMES, Kind.PREFIX: NAMES, Kind.HOST: NAMES, Kind.URL: NAMES, Kind.ALL: 1,
         Kind.GROUP: GROUPS, Kind.ORIGIN: ORIGINS}  # fmt: skip


TAG_BITS, SEQUENCE_BITS = 20, 44


@dataclass(frozen=True, slots=True)
class Place:
    """A purge's place in the stream that all nodes read: `tag` tells one stream from another, 1 … 2**20 - 1."""

    tag: int
    sequence: int

    @property
    def word(self) -> int:
        return self.tag << SEQUENCE_BITS | self.sequence

    @property
    def note(self) -> tuple[int, bytes, int, int]:
        return int(Kind.PLACE), self.word.to_bytes(16, "little"), 0, 0

    @staticmethod
    def of(word: int) -> Place | None:
        """None for 0: no place is known."""
        return Place(word >> SEQUENCE_BITS, word & ((1 << SEQUENCE_BITS) - 1)) if word else None

    def reaches(self, other: Place) -> bool:
        """Whether everything up to `other` is in force for whoever is here."""
        return self.tag == other.tag and self.sequence >= other.sequence

    def __str__(self) -> str:
        return f"{self.tag:x}.{self.sequence}"


class Grade(IntEnum):
    """What a purge leaves of a record."""

    NONE = 0
    SOFT = 1  # stale from then on
    ASK = 2  # to be validated before any use
    GONE = 3


@dataclass(frozen=True, slots=True)
class Purged:
    """`time`: node time of the purge, ms."""

    grade: Grade
    time: int = 0

    def applied(self, stored: Stored) -> Stored:
        """What is left; not for GONE."""
        until = min(stored.fresh_until, self.time)
        if self.grade is Grade.SOFT:
            return replace(stored, fresh_until=until)
        return replace(stored, fresh_until=until, swr_until=until, sie_until=until)


NOT_PURGED = Purged(Grade.NONE)


@dataclass(slots=True)
class _Mark:
    gone: int = 0  # the epoch that the latest purge of this name began, 0: none
    soft: int = 0
    time: int = 0


class _Notes:
    """One kind of names, the one purged longest ago forgotten first."""

    def __init__(self, most: int) -> None:
        self.marks: dict[bytes, _Mark] = {}
        self.latest = 0
        self._most = most
        self._forgotten = _Mark()

    def add(self, name: bytes, stamp: int, soft: bool, now: int) -> None:
        mark = self.marks.pop(name, None) or _Mark()
        if soft:
            mark.soft = stamp
        else:
            mark.gone = stamp
        mark.time = now
        self.marks[name] = mark
        self.latest = stamp
        if len(self.marks) > self._most:
            oldest = self.marks.pop(next(iter(self.marks)))
            self.forget(max(oldest.gone, oldest.soft), now)

    def forget(self, stamp: int, now: int) -> None:
        """Notes up to this epoch are not known any more."""
        self._forgotten.gone = max(stamp, self._forgotten.gone)
        self._forgotten.time = now
        self.latest = max(self.latest, stamp)

    def find(self, name: str | bytes, stamp: int) -> Purged:
        """What reaches a record of epoch `stamp` that has this name."""
        if stamp >= self.latest:
            return NOT_PURGED
        mark = self.marks.get(digest(name))
        if mark is not None:
            if stamp < mark.gone:
                return Purged(Grade.GONE, mark.time)
            if stamp < mark.soft:
                return Purged(Grade.SOFT, mark.time)
        return self.forgotten(stamp)

    def forgotten(self, stamp: int) -> Purged:
        mark = self._forgotten
        return Purged(Grade.ASK, mark.time) if stamp < mark.gone else NOT_PURGED


class PurgeLog:
    """What a process of a node knows of the journal. `kept` replaces how many notes of a kind are known."""

    def __init__(self, journal: Journal, kept: dict[Kind, int] | None = None) -> None:
        self._journal = journal
        self._notes = {kind: _Notes(most) for kind, most in {**_KEPT, **(kept or {})}.items()}
        self._prefixes = self._notes[Kind.PREFIX]
        self._sizes: dict[bytes, int] = {}  # of the prefixes known, by digest
        self._lengths: list[int] = []
        self._newest = 0
        self._read = 0

    def purge(
        self,
        tags: Sequence[str],
        prefixes: Sequence[str],
        hosts: Sequence[str],
        soft: bool,
        now: int,
        *,
        urls: Iterable[bytes] = (),
        everything: bool = False,
        place: Place | None = None,
    ) -> None:
        """In force in every worker when it returns. `prefixes` and `hosts` in normal form, `urls` as keys; OSError when
        another process holds the journal and does not go on. `place`: where in the stream of all nodes it stands."""
        flags = SOFT if soft else 0
        notes = [(int(Kind.TAG), digest(tag), 0, flags) for tag in tags]
        notes += [(int(Kind.PREFIX), digest(prefix), len(prefix), flags) for prefix in prefixes]
        notes += [(int(Kind.HOST), digest(host), 0, flags) for host in hosts]
        if everything:
            notes.append((int(Kind.ALL), digest(""), 0, flags))
        parts = sorted({url_part(key) for key in urls})
        if place is not None:
            self._journal.told = place.word
        if place is not None and not parts:
            notes.append(place.note)
        if notes:
            self._journal.append(notes, now)
        for index, url in enumerate(parts, 1):
            notes = [(int(Kind.URL), digest(url), 0, flags)]
            if place is not None and index == len(parts):
                notes.append(place.note)
            self._journal.append(notes, now, url)
        if place is not None:
            self._journal.applied = place.word

    def invalidate(
        self, request: RequestHead, keys: Iterable[bytes], groups: Sequence[str], now: int
    ) -> None:
        """What an answer to an unsafe request makes unusable: URLs, as keys (RFC 9111 §4.4), and cache groups of the
        request's origin, as tags (RFC 9875 §3). OSError as `purge`, but soon: a client waits."""
        for url in {url_part(key) for key in keys}:
            self._journal.append([(int(Kind.URL), digest(url), 0, 0)], now, url, PATIENCE)
        if groups:
            notes = [(int(Kind.GROUP), digest(group), 0, 0) for group in groups]
            notes.append((int(Kind.ORIGIN), digest(origin_of(request)), 0, 0))
            self._journal.append(notes, now, None, PATIENCE)

    def forget(self, place: Place | None, now: int) -> None:
        """Purges up to `place` may have been missed: everything stored has to be validated before it is used.
        OSError as `purge`."""
        notes = [(int(Kind.FORGOTTEN), digest(""), 0, 0)]
        if place is None:
            self._journal.append(notes, now)
            return
        self._journal.told = place.word
        self._journal.append([*notes, place.note], now)
        self._journal.applied = place.word

    def told(self) -> Place | None:
        """Every purge up to here is in force for requests from now on, or will be before they are answered: written
        before the notes, so that nobody says less than what the epoch he has seen stands for."""
        return Place.of(self._journal.told)

    def applied(self) -> Place | None:
        """Every purge up to here is in force."""
        return Place.of(self._journal.applied)

    def new_epoch(self, now: int) -> None:
        """Everything is decided again when it is next asked for: the configuration is another one."""
        self._journal.append([], now)

    def current(self, stamp: int, key: bytes) -> bool:
        """Whether what was decided at `stamp` still holds; else `find` says what came since."""
        return self._journal.current(stamp, url_part(key))

    def current_url(self, stamp: int, url: bytes) -> bool:
        """The same where `lookup.url_part` of the key is at hand."""
        return self._journal.current(stamp, url)

    def find(self, stamp: int, request: RequestHead, tags: Iterable[str] | None, key: bytes) -> Purged:
        """The severest purge that reaches what is stored under `key` for this request, with these tags, at `stamp`.

        None for `tags`: they are not known yet, so any might be there.
        """
        self._catch_up()
        if stamp >= self._newest:
            return NOT_PURGED
        notes = self._notes
        found = [
            notes[Kind.ALL].find("", stamp),
            notes[Kind.URL].find(url_part(key), stamp),
            notes[Kind.HOST].find(_host(request.authority), stamp),
            *self._by_prefix(stamp, request),
        ]
        if tags is None:
            unknown = stamp < notes[Kind.TAG].latest
            if unknown or notes[Kind.ORIGIN].find(origin_of(request), stamp).grade:
                return Purged(Grade.GONE)
        else:
            found += [notes[Kind.GROUP if is_group(tag) else Kind.TAG].find(tag, stamp) for tag in tags]
        return max(found, key=lambda purged: purged.grade)

    def _by_prefix(self, stamp: int, request: RequestHead) -> list[Purged]:
        if stamp >= self._prefixes.latest:
            return []
        url = f"{request.scheme}://{request.authority}{request.path}"
        found = [self._prefixes.forgotten(stamp)]
        for length in self._lengths:
            if length > len(url):
                break
            found.append(self._prefixes.find(url[:length], stamp))
        return found

    def _catch_up(self) -> None:
        """Read what other processes, or this one, have written since."""
        if self._journal.head == self._read:
            return
        notes, self._read, lost = self._journal.read(self._read)
        if lost:
            _kind, _name, _number, _flags, stamp, time = notes[0]
            for kept in self._notes.values():
                kept.forget(stamp, time)
        for kind, name, number, flags, stamp, time in notes:
            self._newest = stamp
            if kind == Kind.PLACE:
                continue
            if kind == Kind.FORGOTTEN:
                for kept in self._notes.values():
                    kept.forget(stamp, time)
                continue
            self._notes[Kind(kind)].add(name, stamp, bool(flags & SOFT), time)
            if kind == Kind.PREFIX:
                self._sizes[name] = number
        if len(self._sizes) > len(self._prefixes.marks):
            self._sizes = {name: self._sizes[name] for name in self._prefixes.marks}
        self._lengths = sorted(set(self._sizes.values()))


def digest(name: str | bytes) -> bytes:
    """How a name stands in the journal."""
    text = name if isinstance(name, bytes) else name.encode("utf-8", "surrogatepass")
    return blake2b(text, digest_size=16).digest()


def _host(authority: str) -> str:
    return authority[: authority.index("]") + 1] if authority.startswith("[") else authority.partition(":")[0]
