"""From the folder to the index after a start: reads the logs, not the entries.

Decides which files are whose: a log and a data file of one number with sound heads are a segment, anything else with
such a name is removed. What is missing is noticed: a log that ends before the part that was safe, entries without a
log, a segment of the roster; and a log without its entries still says what they replaced, for as long as anything older
is there. Whether an entry is whole is found when it is read.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field

from cdn.store.disk import format as fmt
from cdn.store.disk._table import Table
from cdn.store.disk.files import Files
from cdn.store.disk.roster import read_roster
from cdn.store.disk.segment_files import data_name, log_name

_NAME = re.compile(r"([0-9a-f]{16})\.(data|log)")


@dataclass(slots=True)
class Recovered:
    """`stamp`: the highest decision epoch of any entry. `bad`: log records that were not whole or pointed nowhere, and
    logs that are missing or shorter than they were. `numbers`: of the segments there are, and of logs without data."""

    segments: int = 0
    records: int = 0
    bad: int = 0
    stamp: int = 0
    dropped: int = 0  # segments with unsound files
    missing: int = 0  # segments of which no file is there any more
    numbers: set[int] = field(default_factory=set)
    alone: list[tuple[int, int]] = field(
        default_factory=list
    )  # logs without data: number, latest serial number


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
    roster = read_roster(files)
    if roster is None:
        out.bad += bool(kinds)
    else:
        out.missing = len(roster - kinds.keys())
        out.bad += out.missing
        table.numbered(max(roster, default=0))
    for number in sorted(kinds):
        if not number or not _load(files, table, number, kinds[number], out):
            out.dropped += 1
            _remove(files, number)
    table.settled()
    for number, latest in out.alone:
        if table.oldest_elsewhere(-1) < latest:
            out.numbers.add(number)
        else:
            _remove(files, number)
    return out


def _remove(files: Files, number: int) -> None:
    try:
        files.unlink(data_name(number))
        files.sync_folder()
        files.unlink(log_name(number))
    except OSError:
        return  # tried again at the next start


def _load(files: Files, table: Table, number: int, kinds: set[str], out: Recovered) -> bool:
    """False: this is no segment. OSError only for what cannot be read of one."""
    log = b""
    if "log" in kinds:
        try:
            log = files.read(log_name(number))
        except OSError:
            out.bad += 1
            return False
    if not fmt.is_file_head(log, fmt.LOG, number):
        # it said something, and nobody knows what; or entries were written, and its head is safe before they are
        out.bad += any(log[fmt.RECORD :]) or _has_entries(files, number)
        return False
    if (got := table.adopt(number)) is None:
        out.bad += len(log) > fmt.RECORD
        return False
    sound = "data" in kinds and _sound(files, number)
    safe = fmt.safe_part(log)
    records, latest, stamp, bad = table.load(
        memoryview(log)[fmt.RECORD :],
        got[0],
        files.size(data_name(number)) if sound else 0,
        max(0, safe - fmt.RECORD) // fmt.RECORD,
    )
    out.stamp = max(out.stamp, stamp)
    if not sound:
        table.free(got[0])  # what its entries replaced does not come back
        out.bad += len(log) < safe
        if latest:
            out.alone.append((number, latest))
        return bool(latest)
    out.segments += 1
    out.numbers.add(number)
    out.records += records
    out.bad += bad + (len(log) < safe)
    return True


def _has_entries(files: Files, number: int) -> bool:
    try:
        data = files.open(data_name(number))
        return fmt.key_in(os.pread(data.fd, fmt.PAGE, fmt.PAGE)) is not None
    except OSError:
        return False


def _sound(files: Files, number: int) -> bool:
    try:
        data = files.open(data_name(number))
        return fmt.is_file_head(fmt.head_of(data.fd), fmt.DATA, number)
    except OSError:
        return False
