"""Bodies that name their key and version, so that a byte of another one or of an older one is seen; drafts
for them."""

from __future__ import annotations

from cdn.store import Draft

FAR = 1 << 46


def body(key: bytes, version: int, n: int) -> bytes:
    unit = b"<%s#%d>" % (key, version)
    return (unit * (n // len(unit) + 1))[:n]


def head(key: bytes, version: int, length: int = 0) -> bytes:
    lines = b'HTTP/1.1 200 OK\r\nETag: "%d"\r\nX-Key: %s\r\n' % (version, key)
    return lines if len(lines) >= length else lines + b"X-Pad: " + b"p" * (length - len(lines)) + b"\r\n"


def draft(key: bytes, version: int, now: int = 1000, *, head_length: int = 0, fresh: int = FAR) -> Draft:
    lines = head(key, version, head_length)
    return Draft(
        status=200,
        head=lines,
        status_line_len=17,
        born=now,
        fresh_until=fresh,
        swr_until=fresh,
        sie_until=fresh,
        response_time=now,
        etag_offset=lines.index(b'"'),
        etag_len=len(b'"%d"' % version),
        lines_304=1,
        meta=b"meta of %s %d" % (key, version),
    )
