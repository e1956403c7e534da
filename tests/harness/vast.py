"""A resource too large to be made: 10 GiB that serve ranges, each word of which says where it lies, and its version.

So a byte from another place or another version fails a comparison, and nobody has to keep the whole. Bodies leave in
pieces, and what has left is counted. Nothing here knows caching.
"""

from __future__ import annotations

import re
import threading
from array import array
from collections.abc import Callable

from .origin import Reply, reply
from .wire import Pairs, Request

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
_RANGE = re.compile(r"bytes=(?:(\d+)-(\d*)|-(\d+))\Z")
_PIECE = 64 * KIB


def content(version: int, first: int, last: int) -> bytes:
    """Bytes `first` to `last`, both included, of a version below 128."""
    begin, end = first // 8, last // 8 + 1
    words = array("Q", range((version << 56) + begin, (version << 56) + end)).tobytes()
    return words[first - 8 * begin : last + 1 - 8 * begin]


class Vast:
    """A rule for `Origin`. `before(request, first)` is called when the head has left, and before the body does."""

    def __init__(self, length: int = 10 * GIB, max_age: int = 60, fields: Pairs | None = None) -> None:
        self.length, self.max_age = length, max_age
        self.fields = fields if fields is not None else []
        self.version = 1
        self.ranges = True
        self.tag: Callable[[int], str | None] = lambda version: f'"v{version}"'
        self.modified: str | None = None
        self.date: str | None = None
        self.change_reply: Callable[[Request, Reply], Reply | None] = lambda request, made: made
        self.before: Callable[[Request, int], object] = lambda request, first: None
        self.cut_at: int | None = None  # close when this byte of the resource is to be sent
        self.status: int | None = None
        self.sent = 0
        self.lock = threading.Lock()

    def change(self, length: int | None = None) -> None:
        with self.lock:
            self.version += 1
            self.length = self.length if length is None else length

    def __call__(self, request: Request) -> Reply | None:
        if request.method not in ("GET", "HEAD"):
            return reply(204)
        if self.status is not None:
            return reply(self.status, {"Cache-Control": "no-store"}, b"broken")
        with self.lock:
            version, length = self.version, self.length
        etag = self.tag(version)
        fields: Pairs = [("Cache-Control", f"max-age={self.max_age}"), *self.fields]
        known = (("ETag", etag), ("Last-Modified", self.modified), ("Date", self.date))
        fields += [(name, value) for name, value in known if value is not None]
        asked = request["if-none-match"]
        if asked is not None and etag is not None and etag in asked:
            return self.change_reply(request, reply(304, fields))
        wanted = _RANGE.match(request["range"] or "") if self.ranges else None
        condition = request["if-range"]
        if request.method == "HEAD" or wanted is None or condition not in (None, etag, self.modified):
            first, last, status = 0, length - 1, 200
        else:
            first, last = _positions(wanted, length)
            status = 206
        if first > last:
            return self.change_reply(request, reply(416, [("Content-Range", f"bytes */{length}")]))
        if status == 206:
            fields.append(("Content-Range", f"bytes {first}-{last}/{length}"))
        if status == 200 or condition is None:
            fields.append(("Content-Type", "video/x-test"))
        fields.append(("Content-Length", str(last + 1 - first)))
        made = self.change_reply(request, reply(status, fields, framing="none"))
        if made is None:
            return None
        request.conn.send(made.encode("HEAD"))
        if request.method != "HEAD":
            self._send(request, version, first, last)
        return None

    def _send(self, request: Request, version: int, first: int, last: int) -> None:
        self.before(request, first)
        at = first
        while at <= last and not request.conn.over:
            end = min(at + _PIECE - 1, last)
            if self.cut_at is not None and at <= self.cut_at <= end:
                request.conn.send(content(version, at, self.cut_at)[:-1])
                request.conn.close()
                return
            request.conn.send(content(version, at, end))
            with self.lock:
                self.sent += end + 1 - at
            at = end + 1


def _positions(wanted: re.Match[str], length: int) -> tuple[int, int]:
    if wanted[3] is not None:
        return max(0, length - int(wanted[3])), length - 1 if int(wanted[3]) else -1
    return int(wanted[1]), min(int(wanted[2] or length), length - 1)
