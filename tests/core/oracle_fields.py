"""Plain-Python twins of the field readers: entity-tag lists, ranges, dates, chunked bodies."""

from __future__ import annotations

import calendar
import re
from datetime import UTC, datetime, timedelta

from tests.core.oracle_head import LARGEST, TCHAR, TEXT, IncompleteError, Reader

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
TAG = re.compile(rb'(W/)?("[\x21\x23-\x7e\x80-\xff]*")')
BARE = rb"[\x21\x23-\x2b\x2d-\x7e\x80-\xff]+"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def etag_matches(value: bytes, etag: bytes, weak: bool) -> bool:
    """Members are taken from the left; a quote in the wrong place ends the reading."""
    if value.strip(b" \t") == b"*":
        return True
    own = TAG.fullmatch(etag)
    bare_own = re.fullmatch(BARE, etag) if weak else None
    if bare_own is None and (own is None or (own[1] and not weak)):
        return False
    rest = value
    while rest := rest.lstrip(b" \t,"):
        member = re.match(TAG.pattern + rb"[ \t]*(?=,|\Z)", rest)
        if member is None:
            bare = re.match(rb'[^",]*(?=,|\Z)', rest)
            if bare is None:
                return False
            if bare_own is not None and bare[0].strip(b" \t") == etag:
                return True
            rest = rest[bare.end() :]
            continue
        if own is not None and member[2] == own[2] and (weak or not member[1]):
            return True
        rest = rest[member.end() :]
    return False


def ranges(value: bytes, length: int) -> list[tuple[int, int] | str] | None:
    """Each spec as (first, last), "beyond" or "empty"; None when the set is malformed."""
    match = re.fullmatch(rb"(?i:bytes)=(.*)", value.strip(b" \t"), re.S)
    if match is None:
        return None
    out: list[tuple[int, int] | str] = []
    for member in match[1].split(b","):
        spec = member.strip(b" \t")
        if not spec:
            continue
        parts = re.fullmatch(rb"([0-9]*)-([0-9]*)", spec)
        if parts is None or parts[0] == b"-":
            return None
        first, last = (int(part) if part else None for part in parts.groups())
        if first is None:
            assert last is not None
            if last == 0:
                out.append("beyond")
            else:
                out.append("empty" if length == 0 else (max(0, length - last), length - 1))
            continue
        if last is not None and last < first:
            return None
        if first >= length:
            out.append("beyond")
        else:
            out.append((first, length - 1 if last is None else min(last, length - 1)))
    return out or None


def parse_range(value: bytes, length: int) -> tuple[str, int, int]:
    found = ranges(value, length)
    if found is None or found == ["empty"]:
        return "ignore", 0, 0
    if len(found) > 1:
        return "many", 0, 0
    if found == ["beyond"]:
        return "unsatisfiable", 0, 0
    one = found[0]
    assert isinstance(one, tuple)
    return "one", *one


def parse_ranges(value: bytes, length: int) -> list[tuple[int, int]] | None:
    found = ranges(value, length)
    if found is None:
        return None
    held = [one for one in found if isinstance(one, tuple)]
    return None if not held and "empty" in found else held


def _seconds(year: int, month: int, day: int, clock: str) -> int | None:
    hour, minute, second = map(int, clock.split(":"))
    if hour > 23 or minute > 59 or second > 60 or day < 1:
        return None
    years = year if year else 400  # the calendar repeats after 400 years; datetime knows no year 0
    if day > calendar.monthrange(years, month)[1]:
        return None
    moment = datetime(years, month, day, hour, minute, tzinfo=UTC) + timedelta(seconds=second)
    return (moment - EPOCH) // timedelta(seconds=1) - (0 if year else 146097 * 86400)


def http_date(value: bytes, now: int) -> int | None:
    text = value.decode("latin-1")
    months = "|".join(MONTHS)
    short = "|".join(day[:3] for day in DAYS)
    clock = "([0-9]{2}:[0-9]{2}:[0-9]{2})"
    if m := re.fullmatch(rf"(?:{short}), ([0-9]{{2}}) ({months}) ([0-9]{{4}}) {clock} GMT", text):
        return _seconds(int(m[3]), MONTHS.index(m[2]) + 1, int(m[1]), m[4])
    if m := re.fullmatch(rf"(?:{short}) ({months}) ([0-9]{{2}}| [0-9]) {clock} ([0-9]{{4}})", text):
        return _seconds(int(m[4]), MONTHS.index(m[1]) + 1, int(m[2]), m[3])
    if m := re.fullmatch(rf"(?:{'|'.join(DAYS)}), ([0-9]{{2}})-({months})-([0-9]{{2}}) {clock} GMT", text):
        today = EPOCH + timedelta(seconds=now)
        wanted = (int(m[3]), MONTHS.index(m[2]) + 1, int(m[1]))
        hour, minute, second = map(int, m[4].split(":"))
        limit = (today.year + 50, today.month, today.day, today.hour, today.minute, today.second)
        year = next(
            y
            for y in range(today.year + 50, today.year - 51, -1)
            if y % 100 == wanted[0] and (y, *wanted[1:], hour, minute, second) <= limit
        )
        return _seconds(year, wanted[1], wanted[2], m[4])
    return None


class BadChunkError(Exception):
    pass


HEX = frozenset(b"0123456789abcdefABCDEF")


class _Framing(Reader):
    """A reader that refuses to go further than `limit` bytes from where the bound was set."""

    def bound(self, limit: int) -> None:
        self.stop = self.pos + limit

    def take(self) -> int:
        byte = self.peek()
        if self.pos >= self.stop:
            raise BadChunkError
        self.pos += 1
        return byte

    def text_line(self) -> None:
        while (byte := self.take()) != 0x0D:
            if byte not in TEXT:
                raise BadChunkError
        self.lf()

    def lf(self) -> None:
        if self.take() != 0x0A:
            raise BadChunkError


def _size_line(reader: _Framing) -> int:
    reader.bound(4096)
    size = 0
    byte = reader.take()
    if byte not in HEX:
        raise BadChunkError
    while byte in HEX:
        size = size * 16 + int(chr(byte), 16)
        if size > LARGEST:
            raise BadChunkError
        byte = reader.take()
    spaces = False
    while byte in b" \t":
        spaces = True
        byte = reader.take()
    if byte == 0x3B:
        reader.text_line()
    elif byte == 0x0D and not spaces:
        reader.lf()
    else:
        raise BadChunkError
    return size


def _trailer(reader: _Framing) -> None:
    reader.bound(8192)
    while (byte := reader.take()) != 0x0D:
        while byte in TCHAR:
            byte = reader.take()
        if byte != 0x3A or reader.data[reader.pos - 2] == 0x0A:
            raise BadChunkError
        reader.text_line()
    reader.lf()


def dechunk(data: bytes) -> tuple[bytes, bytes] | None:
    """(body, what comes behind it); None while incomplete. Raises BadChunkError."""
    reader = _Framing(data)
    body = b""
    excess = 0
    try:
        while True:
            start = reader.pos
            size = _size_line(reader)
            excess = max(0, excess + reader.pos - start - 16 - 2 * min(size, 65536))
            if excess > 65536:
                raise BadChunkError
            if size == 0:
                break
            piece = data[reader.pos : reader.pos + size]
            body += piece
            reader.pos += len(piece)
            reader.bound(2)
            if reader.take() != 0x0D:
                raise BadChunkError
            reader.lf()
        _trailer(reader)
    except IncompleteError:
        return None
    return body, data[reader.pos :]
