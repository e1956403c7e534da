"""The purges on disk: a note of the journal as bytes, and what a start makes of those of an earlier life.

Decides that stamps go on over a start: what is stored keeps its own, every one given from now on is later, and so a
note reaches what it reached before. Where notes may be missing, whatever is older has to be validated before it is
used. Must not know files.
"""

from __future__ import annotations

import struct

from cdn.proxy.clock import Clock
from cdn.proxy.purge_log import Kind, digest
from cdn.store import Journal, Memory
from cdn.store._journal import ROOM
from cdn.store.disk.tier import Disk

_NOTE = struct.Struct("<BBI16sQq")  # kind, flags, number, digest, stamp, wall time
Note = tuple[int, bytes, int, int, int, int]  # as the journal gives it; node time


def pack(note: Note, shift: int) -> bytes:
    """`shift`: from node time to wall time."""
    kind, name, number, flags, stamp, time = note
    return _NOTE.pack(kind, flags, number, name, stamp, time + shift)


def unpack(data: bytes, shift: int) -> Note | None:
    """None for what is no note of this program."""
    if len(data) != _NOTE.size:
        return None
    kind, flags, number, name, stamp, time = _NOTE.unpack(data)
    return (kind, name, number, flags, stamp, time - shift) if kind in Kind.__members__.values() else None


def restore(disk: Disk, memory: Memory, journal: Journal, clock: Clock) -> None:
    """Once, before any worker is there."""
    shift = clock.wall() - clock.now()
    found = [unpack(data, shift) for data in disk.notes]
    notes = [note for note in found if note is not None]
    whole = disk.whole and len(notes) == len(found)
    kept = notes[-(ROOM // 2) :]
    memory.begin_at(max([disk.recovered.stamp, *(note[4] for note in notes)], default=0) + 1)
    journal.restore([(*note[:5], min(note[5], clock.now())) for note in kept])
    places = [int.from_bytes(note[1], "little") for note in kept if note[0] == Kind.PLACE]
    if places:
        journal.told = journal.applied = places[-1] & (2**64 - 1)
    if not whole or len(kept) < len(notes):
        journal.append([(int(Kind.FORGOTTEN), digest(""), 0, 0)], clock.now())
    journal.append([], clock.now())  # another epoch: everything of before is decided again
    held, upto, _ = journal.read(0)
    try:
        disk.begin_notes([pack(note, shift) for note in held], upto)
    except OSError:
        return  # they are added behind what is there, all of them, once the disk takes it


def persist(disk: Disk, journal: Journal, clock: Clock) -> None:
    """What is in force is durable when this returns. Waits for the disk; OSError."""
    shift = clock.wall() - clock.now()

    def since(number: int) -> tuple[list[bytes], int]:
        notes, upto, lost = journal.read(number)
        if lost:  # some came and went before they were written
            notes.insert(0, (int(Kind.FORGOTTEN), digest(""), 0, 0, *notes[0][4:]))
        return [pack(note, shift) for note in notes], upto

    disk.note(since)
