"""A request and an open file: which status, which fields, which bytes of it (RFC 9110 §13, §14).

Decides as an origin does, with the leaves and rules that the cache itself uses. Must not know paths on disk or
how bytes are read.
"""

from __future__ import annotations

import mimetypes
from dataclasses import dataclass

from cdn import _core
from cdn.rules.conditional import Verdict, evaluate_validators, if_range_holds
from cdn.rules.message import Fields, RequestHead
from cdn.tier.directory.opening import Opened

# What `mimetypes` of this Python or this system may lack; text without a charset is guessed at by browsers.
TYPES = {
    ".avif": "image/avif",
    ".css": "text/css",
    ".html": "text/html",
    ".htm": "text/html",
    ".ico": "image/vnd.microsoft.icon",
    ".js": "text/javascript",
    ".json": "application/json",
    ".map": "application/json",
    ".md": "text/markdown",
    ".mjs": "text/javascript",
    ".mp4": "video/mp4",
    ".pdf": "application/pdf",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
    ".wasm": "application/wasm",
    ".webm": "video/webm",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
    ".xml": "application/xml",
}
_SYSTEM = mimetypes.MimeTypes()


@dataclass(frozen=True, slots=True)
class FileAnswer:
    """`first` and `length` say which bytes of the file are the body; a HEAD has the fields of the GET."""

    status: int
    fields: Fields
    first: int = 0
    length: int = 0


def content_type(name: bytes) -> str:
    text = name.decode("utf-8", "replace").lower()
    ending = "." + text.rpartition(".")[2] if "." in text.rpartition("/")[2] else ""
    kind = TYPES.get(ending) or _SYSTEM.types_map[1].get(ending) or "application/octet-stream"
    return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind


def answer(request: RequestHead, file: Opened, extra: list[tuple[str, str]], now: int) -> FileAnswer:
    """`now` in seconds; `extra` are the `_headers` file's fields for this path."""
    named = {name.lower() for name, _ in extra}
    validators = [
        ("Last-Modified", _core.format_http_date(file.modified)),
        ("ETag", file.etag),
    ]
    verdict = evaluate_validators(request, file.etag, file.modified, file.modified, now)
    if verdict is Verdict.PRECONDITION_FAILED:
        return FileAnswer(412, Fields([("Content-Length", "0")]))
    if verdict is Verdict.NOT_MODIFIED:
        return FileAnswer(304, Fields([*validators, *extra]))
    fields = [*validators, ("Accept-Ranges", "bytes"), *extra]
    if "content-type" not in named:
        fields.insert(0, ("Content-Type", content_type(file.name)))
    status, first, length = 200, 0, file.size
    span = _range(request, file, now)
    if span == ():
        lines = [("Content-Range", f"bytes */{file.size}"), ("Content-Length", "0")]
        return FileAnswer(416, Fields([*lines, *validators]))
    if span:
        status, first, length = 206, span[0], span[1] - span[0] + 1
        fields.append(("Content-Range", f"bytes {span[0]}-{span[1]}/{file.size}"))
    fields.append(("Content-Length", str(length)))
    if request.method == "HEAD":
        length = 0
    return FileAnswer(status, Fields(fields), first, length)


def _range(request: RequestHead, file: Opened, now: int) -> tuple[int, int] | tuple[()] | None:
    """The one range to send, () for 416, None for the whole: several ranges get the whole (RFC 9110 §14.2)."""
    lines = request.fields.all("range")
    if request.method != "GET" or len(lines) != 1:
        return None
    if not if_range_holds(request, file.etag, file.modified, now, now):
        return None
    found = _core.parse_ranges(lines[0].encode("latin-1"), file.size)
    if found is None or len(found) > 1:
        return None
    return found[0] if found else ()
