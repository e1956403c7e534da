"""Which fields travel end to end, and how a list value falls into its members (RFC 9110 §5.6.1, §7.6.1).

Knows nothing about caching: only about what belongs to one connection and what belongs to the message.
"""

from __future__ import annotations

from cdn.rules.message import Fields

HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "http2-settings",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-authentication-info",
    }
)

# A Connection field may not take these out of a message. They are meant for every recipient (RFC 9110 §7.6.1
# forbids listing Cache-Control), and removing one at a client's wish would hide from the origin, or from the
# next cache, what the message is: a known way to poison a shared cache.
KEPT = frozenset(
    {
        "age",
        "authorization",
        "cache-control",
        "cache-status",
        "cdn-cache-control",
        "cdn-loop",
        "content-encoding",
        "content-length",
        "content-location",
        "content-range",
        "content-type",
        "cookie",
        "date",
        "etag",
        "expires",
        "forwarded",
        "host",
        "last-modified",
        "location",
        "pragma",
        "set-cookie",
        "vary",
        "via",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
    }
)

_TOKEN_CHARS = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


def is_token(text: str) -> bool:
    """RFC 9110 §5.6.2."""
    return bool(text) and _TOKEN_CHARS.issuperset(text)


def list_members(value: str) -> list[str]:
    """The non-empty members of a comma-separated list; a comma inside a quoted-string separates nothing.

    A quote that is never closed is an ordinary character, so that it cannot hide the members behind it.
    """
    if '"' not in value:
        return [part for part in (piece.strip(" \t") for piece in value.split(",")) if part]
    members: list[str] = []
    start = at = 0
    end = len(value)
    while at < end:
        char = value[at]
        if char == '"':
            at = _quoted_end(value, at)
        elif char == ",":
            members.append(value[start:at].strip(" \t"))
            at += 1
            start = at
        else:
            at += 1
    members.append(value[start:].strip(" \t"))
    return [member for member in members if member]


def _quoted_end(value: str, start: int) -> int:
    """The position behind the quoted-string that opens at `start`; behind the quote itself when it never
    closes.
    """
    at = start + 1
    end = len(value)
    while at < end:
        char = value[at]
        if char == "\\":
            at += 2
        elif char == '"':
            return at + 1
        else:
            at += 1
    return start + 1


def unquote(text: str) -> str | None:
    """The content of a quoted-string (RFC 9110 §5.6.4), or None when `text` is not exactly one."""
    if len(text) < 2 or text[0] != '"' or _quoted_end(text, 0) != len(text):
        return None
    if "\\" not in text:
        return text[1:-1]
    out: list[str] = []
    chars = iter(text[1:-1])
    for char in chars:
        out.append(next(chars, "") if char == "\\" else char)
    return "".join(out)


def entity_tag(fields: Fields) -> str | None:
    """The ETag field as it stands; None when absent, empty or given twice.

    A value without quotes is no entity-tag (RFC 9110 §8.8.3), yet the origin that sent it may know it again: it
    is kept for validation, and compared as `conditional.etag_matches` says.
    """
    lines = fields.all("etag")
    return lines[0] if len(lines) == 1 and lines[0] else None


def connection_listed(fields: Fields) -> frozenset[str]:
    """The lower-case names that the Connection field lists, `KEPT` ones included."""
    value = fields.get("connection")
    return frozenset() if value is None else frozenset(name.lower() for name in list_members(value))


def end_to_end(fields: Fields) -> Fields:
    """These fields less what belongs to the connection they came over."""
    drop = HOP_BY_HOP
    if "connection" in fields:
        drop = drop | (connection_listed(fields) - KEPT)
    return fields.without(drop)
