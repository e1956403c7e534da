"""The purge log: purges and invalidations by name (tag, cache group, host, prefix), noted instead of carried out.

A purge costs the same whatever is stored: it notes the names and begins a new decision epoch. A record of an earlier
epoch is decided again before it is used, and is looked up here then; a fill is as old as its request, so what was asked
before a purge counts as purged when it arrives. Decides which purges reach a record; must not know where records lie.

The log is bounded. When it forgets its oldest note, everything of that kind and older has to be validated before it is
used again: nothing purged comes back, and nothing is lost that the origin confirms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

from cdn.rules.message import RequestHead
from cdn.rules.stored import Stored
from cdn.rules.tags import is_group, origin_of

NAMES = 10_000  # notes of one kind
GROUPS = 16_384  # of all origins together
ORIGINS = 4_096  # whose latest invalidation is known


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
        self.marks: dict[str, _Mark] = {}
        self.latest = 0
        self._most = most
        self._forgotten = _Mark()

    def add(self, name: str, stamp: int, soft: bool, now: int) -> None:
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
            self._forgotten.gone = max(oldest.gone, oldest.soft, self._forgotten.gone)
            self._forgotten.time = now

    def find(self, name: str, stamp: int) -> Purged:
        """What reaches a record of epoch `stamp` that has this name."""
        mark = self.marks.get(name)
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
    """`next_stamp` begins a new decision epoch and returns it."""

    def __init__(
        self,
        next_stamp: Callable[[], int],
        *,
        names: int = NAMES,
        groups: int = GROUPS,
        origins: int = ORIGINS,
    ) -> None:
        self._next_stamp = next_stamp
        self._tags = _Notes(names)
        self._hosts = _Notes(names)
        self._prefixes = _Notes(names)
        self._groups = _Notes(groups)
        self._origins = _Notes(origins)
        self._lengths: list[int] = []
        self._newest = 0

    def purge(
        self, tags: Sequence[str], prefixes: Sequence[str], hosts: Sequence[str], soft: bool, now: int
    ) -> None:
        """In force when it returns. `prefixes` and `hosts` in normal form."""
        self._newest = stamp = self._next_stamp()
        for notes, names in ((self._tags, tags), (self._prefixes, prefixes), (self._hosts, hosts)):
            for name in names:
                notes.add(name, stamp, soft, now)
        if prefixes:
            self._lengths = sorted({len(prefix) for prefix in self._prefixes.marks})

    def invalidate(self, request: RequestHead, groups: Sequence[str], now: int) -> None:
        """Cache groups of the request's origin, as tags (RFC 9875 §3)."""
        if not groups:
            return
        self._newest = stamp = self._next_stamp()
        for group in groups:
            self._groups.add(group, stamp, False, now)
        self._origins.add(origin_of(request), stamp, False, now)

    def find(self, stamp: int, request: RequestHead, tags: Iterable[str] | None) -> Purged:
        """The severest purge that reaches a record of epoch `stamp`, stored for this request with these tags.

        None for `tags`: they are not known yet, so any might be there.
        """
        if stamp >= self._newest:
            return NOT_PURGED
        found = [self._hosts.find(_host(request.authority), stamp), *self._by_prefix(stamp, request)]
        if tags is None:
            if stamp < self._tags.latest or self._origins.find(origin_of(request), stamp).grade:
                return Purged(Grade.GONE)
        else:
            found += [(self._groups if is_group(tag) else self._tags).find(tag, stamp) for tag in tags]
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


def _host(authority: str) -> str:
    return authority[: authority.index("]") + 1] if authority.startswith("[") else authority.partition(":")[0]
