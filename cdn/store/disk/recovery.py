"""From the folder to the index after a start: reads the logs, not the entries.

Decides which files are whose: a log and a data file of one number with sound heads are a segment, anything else with
such a name is removed. Whether an entry is whole is found out when it is read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from cdn.store.disk import format as fmt
from cdn.store.disk._table import Table
from cdn.store.disk.files import Files
from cdn.store.disk.segments import data_name, log_name

_NAME = re.compile(r"([0-9a-f]{16})\.(data|log)")


@dataclass(slots=True)
class Recovered:
    """`stamp`: the highest decision epoch of any entry. `bad`: log records that were not whole or pointed nowhere."""

    segments: int = 0
    records: int = 0
    bad: int = 0
    stamp: int = 0
    dropped: int = 0  # segments with unsound files


def is_segment_file(name: str) -> bool:
    return _NAME.fullmatch(name) is not None


def recover(files: Files, table: Table) -> Recovered:
    """Fill the index. OSError when the folder cannot be read."""
    out = Recovered()
    kinds: dict[int, set[str]] = {}
    for name in files.names():
        match = _NAME.fullmatch(name)
        if match is not None:
            kinds.setdefault(int(match[1], 16), set()).add(match[2])
    for number in sorted(kinds):
        if not number or not (kinds[number] == {"data", "log"} and _load(files, table, number, out)):
            out.dropped += 1
            try:
                files.unlink(log_name(number))
                files.unlink(data_name(number))
            except OSError:
                continue  # tried again at the next start
    table.settled()
    return out


def _load(files: Files, table: Table, number: int, out: Recovered) -> bool:
    try:
        log = files.read(log_name(number))
    except OSError:
        return False
    if not _sound(files, number, log) or (got := table.adopt(number)) is None:
        out.bad += log[fmt.RECORD :].count(0) != len(
            log[fmt.RECORD :]
        )  # it said something, and nobody knows what
        return False
    records, _, stamp, bad = table.load(memoryview(log)[fmt.RECORD :], got[0], files.size(data_name(number)))
    out.segments += 1
    out.records += records
    out.bad += bad
    out.stamp = max(out.stamp, stamp)
    return True


def _sound(files: Files, number: int, log: bytes) -> bool:
    try:
        data = files.open(data_name(number))
        head = fmt.head_of(data.fd)
    except OSError:
        return False
    return fmt.is_file_head(log, fmt.LOG, number) and fmt.is_file_head(head, fmt.DATA, number)
