"""Which header fields a route may edit, and which are the proxy's own business.

A message is re-framed at every hop and a stored response is assembled anew for each client, so the fields
that say how (RFC 9110 §7.6.1, RFC 9112 §6) and those that the cache itself writes cannot be configured.
"""

from __future__ import annotations

import re

from cdn.config.names import parse_field_name
from cdn.config.problems import BadValueError, quote

_HOP_BY_HOP = frozenset(
    {
        "connection",
        "http2-settings",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_FRAMING = frozenset({"content-length", "content-range", "expect"})
_WRITTEN_HERE = frozenset({"age", "cache-status", "cdn-loop", "date", "via"})
# Set on the way to an origin, these would turn a plain request into a conditional or partial one.
_SELECTING = frozenset(
    {"if-match", "if-modified-since", "if-none-match", "if-range", "if-unmodified-since", "range"}
)

_SECRET_NAME = re.compile(
    r"authorization|cookie|token|secret|password|passwd|credential|signature|(^|[-_])(api)?key($|[-_])|(^|[-_])auth($|[-_])",
    re.IGNORECASE,
)
_VALUE = re.compile(r"[\t -~]*")
HIDDEN = "(hidden)"


def parse_removed_field(text: str) -> str:
    """The name of a field that a route removes, in lower case. Raises BadValueError."""
    _refuse(parse_field_name(text))
    return text.lower()


def parse_set_request_field(text: str) -> str:
    """The name of a field that a route sets on the way to the origin, as written. Raises BadValueError."""
    name = parse_set_response_field(text)
    if name.lower() in _SELECTING:
        raise BadValueError(
            f"is {quote(text)}, which belongs to each request: cdn asks origins for ranges and changes itself"
        )
    return name


def parse_set_response_field(text: str) -> str:
    """The name of a field that a route sets on the way to the client, as written. Raises BadValueError."""
    _refuse(parse_field_name(text))
    return text


def _refuse(text: str) -> None:
    name = text.lower()
    if name == "host":
        raise BadValueError("is `Host`; what an origin gets as Host is `origins.NAME.host`")
    if name in _HOP_BY_HOP:
        raise BadValueError(f"is {quote(text)}, which belongs to one connection and never passes through")
    if name in _FRAMING:
        raise BadValueError(
            f"is {quote(text)}, which says how a message is framed and is written by cdn itself"
        )
    if name in _WRITTEN_HERE:
        raise BadValueError(f"is {quote(text)}, which cdn writes itself")


def parse_field_value(text: str) -> str:
    """A field's value. What was written is not repeated: it may be a secret. Raises BadValueError."""
    if not text.isascii():
        raise BadValueError("holds letters that are not ASCII; a field's value is ASCII")
    if not _VALUE.fullmatch(text):
        raise BadValueError("holds a line break or another control character, which no field's value may")
    if text != text.strip():
        raise BadValueError("begins or ends with white space, which does not belong to a field's value")
    if len(text) > 4096:
        raise BadValueError("is longer than 4,096 characters")
    return text


def shown_value(name: str, value: str) -> str:
    """The value as it may be printed: hidden where the field's name says that it carries a secret."""
    return HIDDEN if _SECRET_NAME.search(name) else value
