"""Where an HTTP/1.1 answer to a GET ends (RFC 9112 §6.3), and what its head said; keeps no body.

Knows no sockets. Each connection has one reader and uses it again for every answer.
"""

from __future__ import annotations

import re

MOST_HEAD = 1 << 18  # bytes of a head, or of a line between chunks
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)[ \t]*(?=\r)", re.I)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[^\r]*chunked[ \t]*(?=\r)", re.I)
_CLOSE = re.compile(rb"\r\nconnection:[^\r]*\bclose\b", re.I)
_START = re.compile(rb"HTTP/1\.([01]) ([1-5]\d\d)[ \r]")

_HEAD, _LENGTHED, _SIZE, _CHUNK, _TRAILERS, _ENDLESS = range(6)


class MalformedError(ValueError):
    """Not an HTTP/1.1 answer."""


class Answer:
    """`feed` until it says that the answer is whole; then `status`, `head`, `size` and `close` tell of it."""

    __slots__ = ("_kept", "_left", "_state", "begun", "close", "head", "size", "status")

    def __init__(self) -> None:
        self.again()

    def again(self) -> None:
        """Ready for the next answer."""
        self._kept = b""
        self._state = _HEAD
        self._left = 0
        self.begun = False
        self.status = 0
        self.head = b""
        self.size = 0  # bytes of head and body on the wire
        self.close = False

    def feed(self, data: bytes) -> bool:
        """True when the answer is whole; MalformedError for what is none, and for bytes behind its end."""
        self.size += len(data)
        self.begun = True
        if self._state == _LENGTHED:
            return self._body(len(data))
        if self._state == _ENDLESS:
            return False
        if self._kept:
            data = self._kept + data
            self._kept = b""
        if self._state == _HEAD:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                return self._keep(data)
            start = _START.match(data)
            if start is None:
                raise MalformedError
            self.status = int(start[2])
            self.head = head = data[: end + 2]
            if self.status < 200:  # an interim answer (RFC 9110 §15.2): the real one follows
                if self.status == 101:
                    raise MalformedError
                rest = data[end + 4 :]
                self.size -= len(rest)
                return self.feed(rest) if rest else False
            self.close = (start[1] == b"0") or _CLOSE.search(head) is not None
            rest_len = len(data) - end - 4
            if self.status in (204, 304):
                return self._whole(rest_len)
            if _CHUNKED.search(head) is None:
                length = _LENGTH.search(head)
                if length is None:
                    self.close, self._state = True, _ENDLESS
                    return False
                self._left, self._state = int(length[1]), _LENGTHED
                return self._body(rest_len)
            self._state = _SIZE
            data = data[end + 4 :]
        return self._chunks(data)

    def end(self) -> bool:
        """The server closed: whether that is the end of a whole answer."""
        return self._state == _ENDLESS

    def _body(self, came: int) -> bool:
        if came < self._left:
            self._left -= came
            return False
        return self._whole(came - self._left)

    def _whole(self, behind: int) -> bool:
        if behind:
            raise MalformedError
        return True

    def _keep(self, data: bytes) -> bool:
        if len(data) > MOST_HEAD:
            raise MalformedError
        self._kept = data
        return False

    def _chunks(self, data: bytes) -> bool:
        at, size = 0, len(data)
        while True:
            if self._state == _CHUNK:
                step = min(self._left, size - at)
                at += step
                self._left -= step
                if self._left:
                    return False
                self._state = _SIZE
            end = data.find(b"\r\n", at)
            if end < 0:
                return self._keep(data[at:])
            line = data[at:end]
            at = end + 2
            if self._state == _TRAILERS:
                if not line:
                    return self._whole(size - at)
                continue
            digits = line.partition(b";")[0].strip()
            if not digits or digits.strip(b"0123456789abcdefABCDEF") or len(digits) > 15:
                raise MalformedError
            length = int(digits, 16)
            # a chunk and the line break behind it count together
            self._state, self._left = (_CHUNK, length + 2) if length else (_TRAILERS, 0)
