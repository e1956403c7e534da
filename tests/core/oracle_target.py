"""Plain-Python twins of the normal forms, the query filter, the key and its hash.

Each is written the obvious way: regular expressions, `ipaddress`, RFC 3986 §5.2.4 word for word, lists and
`sorted`.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from urllib.parse import unquote_to_bytes

UNRESERVED = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
ENCODED = b'"<>[]^`{|}'


class RefusedError(Exception):
    """With the name of the fault where there are several."""


def _escape(match: re.Match[bytes]) -> bytes:
    byte = int(match[1], 16)
    if byte < 0x20 or byte in b"\x7f\\":
        raise RefusedError("path")
    return bytes([byte]) if byte in UNRESERVED else b"%%%02X" % byte


def _remove_dot_segments(path: bytes) -> bytes:
    output = b""
    while path:
        if path.startswith(b"/./"):
            path = path[2:]
        elif path == b"/.":
            path = b"/"
        elif path.startswith(b"/../"):
            path = path[3:]
            output = output[: output.rfind(b"/")] if b"/" in output else b""
        elif path == b"/..":
            path = b"/"
            output = output[: output.rfind(b"/")] if b"/" in output else b""
        else:
            cut = path.find(b"/", 1)
            cut = len(path) if cut < 0 else cut
            output += path[:cut]
            path = path[cut:]
    return output


def path(raw: bytes) -> str:
    if raw == b"":
        return "/"
    if not raw.startswith(b"/") or re.search(rb"[^\x21-\x7e]|[\\?#]|%(?![0-9A-Fa-f]{2})", raw):
        raise RefusedError("path")
    decoded = re.sub(rb"%(..)", _escape, raw)
    encoded = re.sub(rb"[" + re.escape(ENCODED) + rb"]", lambda m: b"%%%02X" % m[0][0], decoded)
    return _remove_dot_segments(encoded).decode()


def authority(raw: bytes, https: bool = False) -> str:
    match = re.fullmatch(rb"(\[[^\]]*\]|[A-Za-z0-9_.-]+)(?::([0-9]*))?", raw)
    if match is None or len(raw) > 271:
        raise RefusedError("authority")
    host, port = match[1].decode().lower(), match[2]
    if host.startswith("["):
        try:
            if "%" in host:
                raise RefusedError("authority")
            ipaddress.IPv6Address(host[1:-1])
        except ValueError:
            raise RefusedError("authority") from None
    else:
        host = host.removesuffix(".")
        if len(host) > 255 or not all(host.split(".")):
            raise RefusedError("authority")
    if not port:
        return host
    number = int(port)
    if number > 65535:
        raise RefusedError("authority")
    return host if number == (443 if https else 80) else f"{host}:{number}"


def split_target(
    target: bytes, https: bool, host: bytes | None, method: str = "GET"
) -> tuple[str, str, str | None]:
    if re.fullmatch(rb"[\x21-\x7e]+", target) is None:
        raise RefusedError("target")
    if method == "CONNECT":
        own = authority(target, https)
        if not re.search(rb":[0-9]+\Z", target):
            raise RefusedError("authority")
        result: tuple[str, str, str | None] = (own, "", None)
    elif target.startswith(b"/"):
        own = "" if host is None else authority(host, https)
        return (own, *_path_and_query(target))
    elif target == b"*":
        if method != "OPTIONS":
            raise RefusedError("target-form")
        return "" if host is None else authority(host, https), "*", None
    else:
        match = re.fullmatch(rb"https?://([^/?#]*)(.*)", target, re.I)
        if match is None or target.lower() in (b"http://", b"https://"):
            raise RefusedError("target-form")
        own = authority(match[1], https)
        whole = match[2]
        result = (own, "*", None) if not whole and method == "OPTIONS" else (own, *_path_and_query(whole))
    if host is not None and authority(host, https) != own:
        raise RefusedError("host-mismatch")
    return result


def _path_and_query(raw: bytes) -> tuple[str, str | None]:
    if b"#" in raw:
        raise RefusedError("target-form")
    before, mark, query_text = raw.partition(b"?")
    return path(before), query_text.decode() if mark else None


def name_matches(name: bytes, patterns: Iterable[str]) -> bool:
    for pattern in map(str.encode, patterns):
        if name.startswith(pattern[:-1]) if pattern.endswith(b"*") else name == pattern:
            return True
    return False


def query(
    raw: bytes, ignore: Iterable[str] = (), only: Iterable[str] | None = None, sort: bool = False
) -> bytes | None:
    kept = []
    ignore = tuple(ignore)
    only = None if only is None else tuple(only)
    for parameter in raw.split(b"&"):
        name = unquote_to_bytes(parameter.partition(b"=")[0])
        if name_matches(name, ignore) or (only is not None and not name_matches(name, only)):
            continue
        kept.append(parameter)
    if sort:
        kept.sort(key=lambda parameter: parameter.partition(b"=")[0])
    return b"&".join(kept) if kept else None


def key(https: bool, host: bytes, path_: bytes, query_: bytes | None, extras: Iterable[bytes] = ()) -> bytes:
    parts = [b"s" if https else b"h"]
    for part in (host, path_, query_, *extras):
        parts.append(b"\xff" * 4 if part is None else len(part).to_bytes(4, "little") + part)
    return b"".join(parts)


MASK = 2**64 - 1


def _rotate(x: int, n: int) -> int:
    return (x << n | x >> (64 - n)) & MASK


def siphash128(secret: bytes, data: bytes) -> tuple[int, int]:
    k0, k1 = int.from_bytes(secret[:8], "little"), int.from_bytes(secret[8:], "little")
    words = (b"somepseu", b"dorandom", b"lygenera", b"tedbytes")
    v = [int.from_bytes(word, "big") ^ k for word, k in zip(words, (k0, k1, k0, k1), strict=True)]
    v[1] ^= 0xEE

    def rounds(count: int) -> None:
        for _ in range(count):
            v[0] = (v[0] + v[1]) & MASK
            v[1] = _rotate(v[1], 13) ^ v[0]
            v[0] = _rotate(v[0], 32)
            v[2] = (v[2] + v[3]) & MASK
            v[3] = _rotate(v[3], 16) ^ v[2]
            v[0] = (v[0] + v[3]) & MASK
            v[3] = _rotate(v[3], 21) ^ v[0]
            v[2] = (v[2] + v[1]) & MASK
            v[1] = _rotate(v[1], 17) ^ v[2]
            v[2] = _rotate(v[2], 32)

    padded = data + b"\0" * (-(len(data) + 1) % 8) + bytes([len(data) % 256])
    for at in range(0, len(padded), 8):
        word = int.from_bytes(padded[at : at + 8], "little")
        v[3] ^= word
        rounds(2)
        v[0] ^= word
    v[2] ^= 0xEE
    rounds(4)
    first = v[0] ^ v[1] ^ v[2] ^ v[3]
    v[1] ^= 0xDD
    rounds(4)
    return first, v[0] ^ v[1] ^ v[2] ^ v[3]
