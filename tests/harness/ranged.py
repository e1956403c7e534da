"""A resource of an origin that serves ranges as RFC 9110 §13, §14 say, and whose representation can change.

Every byte of a version differs from the byte at the same place of every other version, so an answer that mixes two
cannot pass for either. Nothing here knows caching.
"""

from __future__ import annotations

import re
import threading

from .origin import Reply, reply
from .wire import Pairs, Request

_RANGE = re.compile(r"bytes=(?:(\d+)-(\d*)|-(\d+))\Z")


def body_of(version: int, length: int) -> bytes:
    """At most 200 versions: the byte at `i` is that of a fixed pattern, moved by the version."""
    return bytes((i * 37 + i // 251 + version) % 256 for i in range(length))


class Ranged:
    """A rule for `Origin`. `fields` are sent with every answer; `ranges` is False for an origin without ranges."""

    def __init__(self, length: int = 1000, max_age: int = 60, fields: Pairs | None = None) -> None:
        self.lengths = {1: length}
        self.version = 1
        self.max_age = max_age
        self.fields = fields if fields is not None else []
        self.ranges = True
        self.weak = False
        self.status: int | None = None  # answer everything with this
        self.lock = threading.Lock()

    def change(self, length: int | None = None) -> None:
        with self.lock:
            self.lengths[self.version + 1] = self.lengths[self.version] if length is None else length
            self.version += 1

    def body(self, version: int | None = None) -> bytes:
        version = self.version if version is None else version
        return body_of(version, self.lengths[version])

    def etag(self, version: int | None = None) -> str:
        tag = f'"v{self.version if version is None else version}"'
        return f"W/{tag}" if self.weak else tag

    def __call__(self, request: Request) -> Reply:
        with self.lock:
            body, etag = self.body(), self.etag()
        if self.status is not None:
            return reply(self.status, {"Cache-Control": "no-store"}, b"broken")
        fields: Pairs = [("Cache-Control", f"max-age={self.max_age}"), ("ETag", etag), *self.fields]
        asked = request["if-none-match"]
        if asked is not None and etag.removeprefix("W/") in asked:
            return reply(304, fields)
        known = [("Content-Type", "text/x-test")]
        wanted = _RANGE.match(request["range"] or "") if self.ranges and request.method == "GET" else None
        condition = request["if-range"]
        if wanted is None or (condition is not None and (condition != etag or self.weak)):
            return reply(200, [*fields, *known], body)
        first, last = _positions(wanted, len(body))
        if first > last:
            return reply(416, [("Content-Range", f"bytes */{len(body)}")])
        fields.append(("Content-Range", f"bytes {first}-{last}/{len(body)}"))
        # What answers If-Range need not say again what the asker knows (RFC 9110 §15.3.7).
        return reply(206, fields if condition is not None else [*fields, *known], body[first : last + 1])


def _positions(wanted: re.Match[str], length: int) -> tuple[int, int]:
    if wanted[3] is not None:
        return max(0, length - int(wanted[3])), length - 1 if int(wanted[3]) else -1
    return int(wanted[1]), min(int(wanted[2] or length), length - 1)
