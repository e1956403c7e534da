"""How many variants of one URL stay on the node: at most so many that a URL cannot crowd out the others.

They are listed in the body of the marker under the URL's key, where every worker finds them, after a start as well:
what parts each one's key from the URL's, the one listed longest ago first. A variant is listed before it is stored, so
one that a worker's death has left half-done counts until others have taken its turn. Without its marker no variant is
found, so nothing is lost with the list but the count of what eviction has begun to take. Must not know what makes two
responses variants of each other.
"""

from __future__ import annotations

import struct

from cdn.proxy import stored_parts, stored_slices
from cdn.proxy.drafts import brief_of, first_marker, stored_of, vary_marker
from cdn.proxy.lookup import url_part
from cdn.proxy.purge_log import PurgeLog
from cdn.rules.stored import MAX_SPECS, Brief, MetaError, Stored, decode_vary_marker
from cdn.rules.vary import Spec
from cdn.store import Entry, Memory, RecordFlag

VARIANTS = 64  # of one URL; the one listed longest ago goes
LISTED = 12 << 10  # bytes of a list: with very long keys fewer stay, but for the newest
ASKED = 16  # variants that an origin is asked about at once
TURNS = 8  # in which others may write the marker first
_LENGTH = struct.Struct("<H")


class VariantCap:
    """For all URLs; keys are those of the store."""

    def __init__(self, memory: Memory, purges: PurgeLog) -> None:
        self._memory = memory
        self._purges = purges

    def filled(self, primary: bytes, key: bytes, vary: Spec, now: int, until: int) -> None:
        """`key` is about to be stored as a variant of `primary` by the fields `vary`, of use until then (node time)."""
        memory, name = self._memory, key.removeprefix(primary)
        if memory.lookup(primary) is None:
            first = _LENGTH.pack(len(name)) + name
            if memory.begin_marker(primary, first_marker(vary), first, now, until):
                return
        gone: list[bytes] = []
        for turn in range(TURNS):
            marker = memory.lookup(primary)
            specs, listed = _read(marker)
            known, after = (add_spec(specs, vary), _listed(listed, name)) if specs else ((vary,), [name])
            if (known, after) == (specs, listed):
                return
            gone = [name for name in listed if name not in after]
            body = b"".join(_LENGTH.pack(len(name)) + name for name in after)
            if specs:
                assert marker is not None
                until = max(until, marker.fresh_until)
            record = vary_marker(known, now, until)
            if memory.exchange(primary, marker, record, body) is not None:
                break
            if marker is not None and marker.current:
                return  # there is no room for it, or the lock is not to be had
            if turn == TURNS - 1:
                memory.publish(primary, record, body)
        for name in gone:
            memory.invalidate(primary + name)
            stored_parts.drop(memory, primary, primary + name)
            stored_slices.drop(memory, primary + name)

    def stored(self, primary: bytes) -> list[tuple[Entry, Stored]]:
        """The latest of a URL's variants that its origin can be asked about: those with an entity-tag, `ASKED` at most.

        All of them are held for as long as that takes, and a worker can hold only so much.
        """
        return [(entry, stored_of(entry)) for entry, _ in self.briefly(primary)]

    def briefly(self, primary: bytes) -> list[tuple[Entry, Brief]]:
        """The same, for less where no more than what they are asked about by is needed."""
        out: list[tuple[Entry, Brief]] = []
        url = url_part(primary)
        for name in reversed(_read(self._memory.lookup(primary))[1]):
            entry = self._memory.lookup(primary + name)
            if entry is None or not self._purges.current_url(entry.stamp, url):
                continue
            brief = brief_of(entry)
            if brief.origin_etag is not None:
                out.append((entry, brief))
                if len(out) == ASKED:
                    break
        return out


def add_spec(specs: tuple[Spec, ...], spec: Spec) -> tuple[Spec, ...]:
    """The newest first, bounded."""
    return (spec, *(s for s in specs if s != spec))[:MAX_SPECS]


def _listed(listed: list[bytes], name: bytes) -> list[bytes]:
    """With one more, or one anew; what is among the younger half stays where it is: a list is not written for that."""
    if name in listed[-VARIANTS // 2 :]:
        return listed
    after = [*(other for other in listed if other != name), name][-VARIANTS:]
    size = sum(_LENGTH.size + len(other) for other in after)
    while size > LISTED and len(after) > 1:
        size -= _LENGTH.size + len(after.pop(0))
    return after


def _read(marker: Entry | None) -> tuple[tuple[Spec, ...], list[bytes]]:
    """The specifications and the variants that a marker lists; nothing where there is none."""
    if marker is None or not marker.flags & RecordFlag.VARY_MARKER:
        return (), []
    try:
        specs = decode_vary_marker(marker.meta)
    except MetaError:
        return (), []
    body, at, out = marker.read(), 0, []
    while at + _LENGTH.size <= len(body):
        (length,) = _LENGTH.unpack_from(body, at)
        at += _LENGTH.size
        out.append(body[at : at + length])
        at += length
    return specs, out
