"""Plain-Python twin of the head scanner: one byte at a time, straight from the grammar, as slow and plain
as can be.

It reads the rules of RFC 9112 in their strictest form and says the same as `cdn._core`: the same view,
"incomplete", or the same named fault. It knows nothing of how the C scanner gets there.
"""

from __future__ import annotations

TCHAR = frozenset(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
VISIBLE = frozenset(range(0x21, 0x7F))
TEXT = frozenset([0x09, *range(0x20, 0x7F), *range(0x80, 0x100)])
DIGIT = frozenset(b"0123456789")
LARGEST = 2**63 - 1

STATUS = {"target-too-long": 414, "head-too-large": 431, "too-many-fields": 431, "transfer-coding": 501}
STATUS["version-unsupported"] = 505


class FaultError(Exception):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name
        self.status = STATUS.get(name, 400)


class IncompleteError(Exception):
    pass


class Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.pos = 0

    def peek(self) -> int:
        if self.pos >= len(self.data):
            raise IncompleteError
        return self.data[self.pos]

    def take(self) -> int:
        byte = self.peek()
        self.pos += 1
        return byte

    def run(self, allowed: frozenset[int]) -> bytes:
        """The longest run of allowed bytes; IncompleteError unless another byte ends it."""
        start = self.pos
        while self.peek() in allowed:
            self.pos += 1
        return self.data[start : self.pos]

    def expect(self, text: bytes, fault: str) -> None:
        for byte in text:
            if self.peek() != byte:
                raise FaultError(fault)
            self.pos += 1


Fields = list[tuple[str, str]]


def version(reader: Reader) -> int:
    reader.expect(b"HTTP/", "version")
    digits = []
    for index in range(3):
        byte = reader.peek()
        if (byte != 0x2E) if index == 1 else (byte not in DIGIT):
            raise FaultError("version")
        digits.append(reader.take())
    if digits[0] != 0x31 or digits[2] not in b"01":
        raise FaultError("version-unsupported")
    return digits[2] - 0x30


def request_line(reader: Reader) -> tuple[str, bytes, int]:
    if reader.peek() == 0x0D:
        reader.expect(b"\r\n", "line-end")
    method = reader.run(TCHAR)
    if not method and reader.peek() == 0x0A:
        raise FaultError("line-end")
    if not method or reader.peek() != 0x20:
        raise FaultError("method")
    reader.take()
    target = reader.run(VISIBLE)
    if target and reader.peek() == 0x0D:
        raise FaultError("version")
    if not target or reader.peek() != 0x20:
        raise FaultError("target")
    reader.take()
    minor = version(reader)
    reader.expect(b"\r\n", "line-end")
    return method.decode(), target, minor


def status_line(reader: Reader) -> tuple[int, str, int]:
    minor = version(reader)
    reader.expect(b" ", "status-line")
    digits = b""
    for index in range(3):
        byte = reader.peek()
        if byte not in DIGIT or (index == 0 and byte == 0x30):
            raise FaultError("status-line")
        digits += bytes([reader.take()])
    reason = b""
    if reader.peek() == 0x20:
        reader.take()
        reason = reader.run(TEXT)
        if reader.peek() not in b"\r\n":
            raise FaultError("status-line")
    elif reader.peek() != 0x0D:
        raise FaultError("status-line")
    reader.expect(b"\r\n", "line-end")
    return int(digits), reason.decode("latin-1"), minor


def field_line(reader: Reader) -> tuple[str, str]:
    name = reader.run(TCHAR)
    byte = reader.peek()
    if not name and byte in b" \t":
        raise FaultError("fold")
    if byte == 0x0A:
        raise FaultError("line-end")
    if not name or byte != 0x3A:
        raise FaultError("field-name")
    reader.take()
    value = reader.run(TEXT)
    if reader.peek() not in b"\r\n":
        raise FaultError("field-value")
    reader.expect(b"\r\n", "line-end")
    return name.decode(), value.lstrip(b" \t").decode("latin-1")


def tokens(values: list[str]) -> set[str]:
    return {member.strip(" \t").lower() for value in values for member in value.split(",")}


class Framing:
    """What the framing fields of a head say, taken in line by line so that the first fault is the one
    reported."""

    def __init__(self, minor: int, response: bool) -> None:
        self.minor = minor
        self.response = response
        self.length: int | None = None
        self.chunked = False
        self.hosts = 0
        self.options: list[str] = []

    def take(self, name: str, untrimmed: str) -> None:
        name = name.lower()
        value = untrimmed.rstrip(" \t")
        if name == "host" and not self.response:
            self.hosts += 1
            if self.hosts > 1:
                raise FaultError("host-repeated")
        elif name == "content-length":
            self.content_length(value)
        elif name == "transfer-encoding":
            if self.chunked or self.minor == 0:
                raise FaultError("transfer-encoding")
            if self.length is not None:
                raise FaultError("two-lengths")
            if untrimmed.lower() != "chunked":
                one = untrimmed and all(ord(c) in TCHAR for c in untrimmed)
                raise FaultError("transfer-coding" if one else "transfer-encoding")
            self.chunked = True
        elif name == "connection":
            self.options.append(value)

    def content_length(self, value: str) -> None:
        if not self.response and self.length is not None:
            raise FaultError("content-length-repeated")
        if self.chunked:
            raise FaultError("two-lengths")
        for member in value.split(",") if self.response else [value]:
            digits = member.strip(" \t")
            if not digits or not set(digits) <= set("0123456789") or int(digits) > LARGEST:
                raise FaultError("content-length")
            if self.length not in (None, int(digits)):
                raise FaultError("content-length-repeated")
            self.length = int(digits)


def scan(data: bytes, response: bool, max_head: int, max_fields: int) -> tuple[object, ...] | None:
    reader = Reader(data[:max_head])
    in_first_line = True
    try:
        first = status_line(reader) if response else request_line(reader)
        in_first_line = False
        framing = Framing(first[2], response)
        fields: Fields = []
        while reader.peek() != 0x0D:
            fields.append(field_line(reader))
            if len(fields) > max_fields:
                raise FaultError("too-many-fields")
            framing.take(*fields[-1])
            fields[-1] = (fields[-1][0], fields[-1][1].rstrip(" \t"))
        reader.expect(b"\r\n", "line-end")
    except IncompleteError:
        if len(data) < max_head:
            return None
        raise FaultError("target-too-long" if in_first_line and not response else "head-too-large") from None
    if not response and first[2] == 1 and not framing.hosts:
        raise FaultError("host-missing")
    options = tokens(framing.options)
    flags = ("close" in options, "keep-alive" in options, "upgrade" in options)
    return (*first, fields, framing.length, framing.chunked, *flags, reader.pos)


def scan_request(data: bytes, max_head: int = 32768, max_fields: int = 128) -> tuple[object, ...] | None:
    """(method, target, minor, fields, content_length, chunked, close, keep_alive, upgrade, length) or
    None.
    """
    return scan(data, False, max_head, max_fields)


def scan_response(data: bytes, max_head: int = 32768, max_fields: int = 128) -> tuple[object, ...] | None:
    """(status, reason, minor, fields, content_length, chunked, close, keep_alive, upgrade, length) or
    None.
    """
    return scan(data, True, max_head, max_fields)
