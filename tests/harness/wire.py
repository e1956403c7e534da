"""Reading and writing HTTP/1.1 on a blocking socket, strictly, for both ends of the proxy.

The proxy's own scanner is not used here on purpose: this is the second opinion on its framing. Anything that
a peer could read in two ways is a `WireError`: two lengths, a length beside chunks, a bare LF, a folded line,
white space before a colon, a body behind a status that has none. Nothing here knows caching.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .sync import PATIENCE

Pairs = list[tuple[str, str]]
FieldsLike = Mapping[str, str] | Iterable[tuple[str, str]] | None

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2}) ([\t -~\x80-\xff]*)\Z")
_REQUEST_LINE = re.compile(rb"(" + _TOKEN.encode() + rb") ([!-~]+) HTTP/1\.([01])\Z")
_FIELD_LINE = re.compile(rb"(" + _TOKEN.encode() + rb"):[ \t]*([\t -~\x80-\xff]*?)[ \t]*\Z")
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})(;[\t -~]*)?\Z")


class WireError(AssertionError):
    """The peer sent what HTTP/1.1 does not allow, or stopped in the middle."""


class Closed(WireError):  # noqa: N818 - reads as what happened
    """The peer closed (or reset) where more was expected."""


def pairs(fields: FieldsLike) -> Pairs:
    if fields is None:
        return []
    return list(fields.items() if isinstance(fields, Mapping) else fields)


def field_lines(fields: FieldsLike) -> bytes:
    return b"".join(f"{name}: {value}\r\n".encode("latin-1") for name, value in pairs(fields))


@dataclass
class Message:
    """What requests and responses share: fields in wire order, the body, and the bytes as they came."""

    fields: Pairs
    body: bytes = b""
    raw: bytes = b""  # the head as received
    framing: str = "none"  # "none" | "length" | "chunked" | "close"
    trailers: Pairs = field(default_factory=list)

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def __getitem__(self, name: str) -> str | None:
        """The field's lines joined by ", ", or None when absent."""
        values = self.all(name)
        return ", ".join(values) if values else None

    def __contains__(self, name: str) -> bool:
        return bool(self.all(name))


@dataclass
class Request(Message):
    method: str = ""
    target: str = ""
    minor: int = 1
    connection: int = 0  # which connection of the origin it came on, from 0
    conn: Any = field(default=None, repr=False)  # the origin's end of that connection
    reader: BodyReader | None = field(default=None, repr=False)


@dataclass
class Response(Message):
    status: int = 0
    reason: str = ""
    minor: int = 1
    interim: list[Response] = field(default_factory=list)
    aborted: bool = False  # the body ended before its framing said so (only with `tolerate_abort`)

    def __repr__(self) -> str:
        return f"<{self.status} {self.framing} {len(self.body)}B {dict(self.fields)}>"


class Wire:
    """A blocking socket with a buffer and a deadline an operation."""

    KEEP = 1 << 20  # bytes of history kept in `received`

    def __init__(self, sock: socket.socket, timeout: float = PATIENCE) -> None:
        self.sock = sock
        self.timeout = timeout
        self.buffer = bytearray()
        self.received = bytearray()
        self.total = 0
        self.eof = False
        self.was_reset = False  # the end came as RST

    # -- out

    def send(self, data: bytes | memoryview) -> None:
        self.sock.settimeout(self.timeout)
        self.sock.sendall(data)

    # -- in

    def _fill(self, deadline: float) -> bool:
        """Read once; False at the end of the stream."""
        if self.eof:
            return False
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self.sock.settimeout(left)
        try:
            data = self.sock.recv(1 << 16)
        except (ConnectionResetError, BrokenPipeError):
            data = b""
            self.was_reset = True
        return self._take(data)

    def _take(self, data: bytes) -> bool:
        """What one read gave; False at the end of the stream."""
        if not data:
            self.eof = True
            return False
        self.total += len(data)
        if len(self.received) < self.KEEP:
            self.received += data
        self.buffer += data
        return True

    def _need(self, deadline: float, what: str) -> None:
        try:
            if not self._fill(deadline):
                raise Closed(f"closed while waiting for {what}; unread: {bytes(self.buffer[:200])!r}")
        except TimeoutError:
            raise WireError(
                f"{self.timeout:g} s of silence, not {what}; unread: {bytes(self.buffer[:200])!r}"
            ) from None

    def deadline(self) -> float:
        return time.monotonic() + self.timeout

    def line(self, what: str, limit: int = 1 << 20) -> bytes:
        """One line without its CRLF; a bare LF or CR is an error."""
        deadline = self.deadline()
        while (end := self.buffer.find(b"\n")) < 0:
            if len(self.buffer) > limit:
                raise WireError(f"a line of more than {limit} bytes in {what}")
            self._need(deadline, what)
        line = bytes(self.buffer[: end + 1])
        del self.buffer[: end + 1]
        if not line.endswith(b"\r\n") or b"\r" in line[:-2]:
            raise WireError(f"a line of {what} does not end with CRLF: {line!r}")
        return line[:-2]

    def exactly(self, count: int, what: str = "body") -> bytes:
        deadline = self.deadline()
        while len(self.buffer) < count:
            self._need(deadline, f"{what} ({len(self.buffer)} of {count} bytes)")
        data = bytes(self.buffer[:count])
        del self.buffer[:count]
        return data

    def some(self, limit: int = 1 << 16) -> bytes:
        """Whatever is there, at least one byte; b"" at the end of the stream."""
        if not self.buffer and not self.eof:
            try:
                self._fill(self.deadline())
            except TimeoutError:
                raise WireError(f"{self.timeout:g} s of silence") from None
        data = bytes(self.buffer[:limit])
        del self.buffer[:limit]
        return data

    def until_closed(self) -> bytes:
        """Everything until the peer closes; WireError when it does not within the timeout."""
        deadline = self.deadline()
        try:
            while self._fill(deadline):
                pass
        except TimeoutError:
            raise WireError(
                f"not closed within {self.timeout:g} s; unread: {bytes(self.buffer[:200])!r}"
            ) from None
        data = bytes(self.buffer)
        self.buffer.clear()
        return data

    def silent(self, seconds: float) -> bool:
        """True when nothing (not even the end) comes for `seconds`."""
        if self.buffer or self.eof:
            return False
        try:
            self._fill(time.monotonic() + max(seconds, 0.001))
        except TimeoutError:
            return True
        return False

    def close(self) -> None:
        try:
            self.sock.close()
        except OSError:
            pass

    def reset(self) -> None:
        """Close with RST instead of FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        self.close()

    # -- messages

    def _fields(self, what: str) -> tuple[Pairs, bytes]:
        fields: Pairs = []
        raw = b""
        while line := self.line(what):
            raw += line + b"\r\n"
            match = _FIELD_LINE.match(line)
            if match is None:
                raise WireError(f"malformed field line in {what}: {line!r}")
            fields.append((match[1].decode("latin-1"), match[2].decode("latin-1")))
        return fields, raw + b"\r\n"

    def request_head(self) -> Request | None:
        """The next request's head; None when the stream ends before its first byte."""
        if not self.buffer and not self.some_or_end():
            return None
        line = self.line("request line")
        match = _REQUEST_LINE.match(line)
        if match is None:
            raise WireError(f"malformed request line: {line!r}")
        fields, raw = self._fields("request fields")
        request = Request(fields, raw=line + b"\r\n" + raw)
        request.method, request.target, request.minor = match[1].decode(), match[2].decode(), int(match[3])
        request.framing = _framing(request, "none")
        return request

    def some_or_end(self) -> bool:
        """Wait without a deadline of its own (a kept-alive connection may idle) for a byte; False at the
        end."""
        try:
            self.sock.settimeout(None)
            data = self.sock.recv(1 << 16)
        except OSError:
            data = b""
        return self._take(data)

    def response_head(self, method: str = "GET") -> Response:
        """The next response's head; interim ones before it are collected in `interim`."""
        interim: list[Response] = []
        while True:
            line = self.line("status line")
            match = _STATUS_LINE.match(line)
            if match is None:
                raise WireError(f"malformed status line: {line!r}")
            fields, raw = self._fields("response fields")
            response = Response(fields, raw=line + b"\r\n" + raw, interim=interim)
            response.minor, response.status = int(match[1]), int(match[2])
            response.reason = match[3].decode("latin-1")
            if 100 <= response.status < 200 and response.status != 101:
                interim.append(response)
                continue
            bodiless = method == "HEAD" or response.status in (101, 204, 304)
            framing = _framing(response, "close")
            if response.status in (101, 204) and framing != "close":
                raise WireError(f"{response.status} with {framing} framing")
            response.framing = "none" if bodiless else framing
            return response


def _framing(message: Message, default: str) -> str:
    """How the body ends, refusing every doubt (RFC 9112 §6.3)."""
    codings, lengths = message.all("transfer-encoding"), message.all("content-length")
    if codings and lengths:
        raise WireError("both Transfer-Encoding and Content-Length")
    if codings:
        if codings != ["chunked"]:
            raise WireError(f"Transfer-Encoding: {codings}")
        return "chunked"
    if lengths:
        if len(lengths) > 1 or not re.fullmatch(r"[0-9]+", lengths[0]):
            raise WireError(f"Content-Length: {lengths}")
        return "length"
    return default


class BodyReader:
    """The body of one message from a wire, de-framed as it arrives."""

    def __init__(self, wire: Wire, message: Message) -> None:
        self.wire, self.message = wire, message
        self.done = message.framing == "none"
        self._left = int(message["content-length"] or 0) if message.framing == "length" else 0
        if message.framing == "length" and self._left == 0:
            self.done = True

    def some(self, limit: int = 1 << 16) -> bytes:
        """The next bytes of the body, b"" at its proven end; Closed when the peer cuts it short."""
        while not self.done:
            if self.message.framing == "close":
                data = self.wire.some(limit)
                self.done = not data
                return data
            if self._left == 0:
                self._chunk_header()
                continue
            data = self.wire.some(min(limit, self._left))
            if not data:
                raise Closed(f"body cut short, {self._left} bytes missing")
            self._left -= len(data)
            if self._left == 0:
                if self.message.framing == "length":
                    self.done = True
                elif self.wire.exactly(2, "chunk end") != b"\r\n":
                    raise WireError("chunk data not followed by CRLF")
            return data
        return b""

    def _chunk_header(self) -> None:
        line = self.wire.line("chunk size")
        match = _CHUNK_LINE.match(line)
        if match is None:
            raise WireError(f"malformed chunk size: {line!r}")
        self._left = int(match[1], 16)
        if self._left == 0:
            self.message.trailers, _ = self.wire._fields("trailer")
            self.done = True

    def exactly(self, count: int) -> bytes:
        """The next `count` bytes of the body."""
        parts: list[bytes] = []
        while count:
            data = self.some(count)
            if not data:
                raise WireError(f"the body ended {count} bytes early")
            parts.append(data)
            count -= len(data)
        return b"".join(parts)

    def rest(self) -> bytes:
        return b"".join(iter(self.some, b""))

    def expect(self, right: bytes, limit: int = 1 << 18) -> None:
        """The rest of the body is `right`: compared as it comes, none of it kept. WireError says where it differs."""
        at = 0
        while data := self.some(limit):
            if not right.startswith(data, at):
                wrong = next(
                    (n for n, (a, b) in enumerate(zip(data, right[at:], strict=False)) if a != b), None
                )
                if wrong is None:
                    raise WireError(f"the body goes on after its {len(right)} bytes")
                raise WireError(f"byte {at + wrong} of the body is wrong")
            at += len(data)
        if at != len(right):
            raise WireError(f"the body ended {len(right) - at} bytes early")
