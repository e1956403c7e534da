"""What the demo's origin serves, made on the spot. Knows no HTTP server."""

from __future__ import annotations

import hashlib
import struct
import zlib


def entity_tag(body: bytes) -> str:
    """A strong entity-tag of these bytes."""
    return f'"{hashlib.sha256(body).hexdigest()[:16]}"'


def html(title: str, text: str) -> bytes:
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f'<link rel="stylesheet" href="/styles.css"><body><main><h1>{title}</h1><p>{text}</p>'
        f'<p><a href="/">back</a></p></main></body></html>'
    ).encode()


def png(seed: int, size: int = 160) -> bytes:
    """A picture of soft bands, different for each seed."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    a, b, c = 3 + seed % 5, 5 + seed % 7, 40 * (seed % 6)
    rows = bytearray()
    for y in range(size):
        rows.append(0)
        for x in range(size):
            rows += bytes(((x * a + y) % 256, (c + y * 255 // size) % 256, 160 + (x * b ^ y) % 64))
    head = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(rows), 6)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
