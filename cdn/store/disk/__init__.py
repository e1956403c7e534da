"""The disk tier: what is stored in memory also lies in a folder, and is there again after a start.

    folder.py         whether the folder is ours to use, and in which format it is
    files.py          the write seam: every byte that reaches the folder goes through it
    format.py         the bytes of a segment, its log and an entry
    times.py          wall time on disk, node time in memory
    _table            the index: hash of a key -> place; shared by the processes of a node
    segments.py       segments as they are written, one after the other
    segment_files.py  the two files of one, from their beginning to their end
    clearing.py       the oldest segment: what of it moves on, what goes
    roster.py         which segments there are, so that one that others removed is missed
    recovery.py       from the logs to the index after a start
    reader.py         reading and verifying entries
    writer.py         the thread that writes, its queue, and what happens when the disk does not take it
    notes.py          the purges, durable before they count as done
    tier.py           all of it behind one face

Must not know HTTP, sockets or an event loop.
"""

from __future__ import annotations
