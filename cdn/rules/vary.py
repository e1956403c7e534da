"""Which request fields select a stored response, and the values they are compared by (RFC 9111 §4.1).

A specification is a sorted tuple of lower-case names: `()` when nothing varies, `STAR` when nothing ever
matches. The values make up the key extras of a variant, so two requests match exactly when their extras are
equal.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache

from cdn.rules.fields import is_token, list_members, unquote
from cdn.rules.message import Fields
from cdn.rules.stored import Stored

Spec = tuple[str, ...]

STAR: Spec = ("*",)

# Not lists: white space behind a comma in them is content.
_VERBATIM = frozenset(
    {"authorization", "cookie", "date", "from", "host", "if-modified-since", "referer", "user-agent"}
)

_QUALITY = re.compile(r"(?:0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)\Z")

MISSING = b"\x00"  # the field does not occur; a value that does is written behind _PRESENT
_PRESENT = b"\x01"


def spec(fields: Fields) -> Spec:
    """All Vary lines as one list. A member that is no field name can match no request: treated as `*`."""
    value = fields.get("vary")
    return () if value is None else _spec(value)


@lru_cache(maxsize=256)
def _spec(value: str) -> Spec:
    names = {member.lower() for member in list_members(value)}
    if "*" in names or not all(is_token(name) for name in names):
        return STAR
    return tuple(sorted(names))


def key_extras(names: Spec, request_fields: Fields) -> tuple[bytes, ...]:
    """One value per name: a missing field differs from an empty one, equivalent values are equal."""
    out: list[bytes] = []
    for name in names:
        value = request_fields.get(name)
        if value is None:
            out.append(MISSING)
        else:
            out.append(_PRESENT + _NORMAL.get(name, _plain)(name, value).encode("latin-1"))
    return tuple(out)


def select(candidates: Iterable[Stored]) -> Stored | None:
    """Of several that match, the one with the newest Date, then the last received (RFC 9111 §4.1)."""
    return max(candidates, key=lambda stored: (stored.date, stored.response_time), default=None)


def _plain(name: str, value: str) -> str:
    """Optional white space around list commas goes; nothing else is known to be insignificant."""
    if name in _VERBATIM:
        return value.strip(" \t")
    return ",".join(list_members(value))


def _qualified(part: str) -> tuple[str, str] | None:
    """`name;q=0.5` → (name with its other parameters, lower case; quality without trailing zeros, "" for 1),
    else None.
    """
    pieces = [piece.strip(" \t") for piece in part.split(";")]
    quality = ""
    kept = [pieces[0].lower()]
    for piece in pieces[1:]:
        name, equals, value = piece.partition("=")
        if not is_token(name) or not equals:
            return None
        if name.lower() == "q":
            if not _QUALITY.match(value):
                return None
            quality = value.rstrip("0").rstrip(".") if "." in value else value
            quality = "" if quality == "1" else quality
        else:
            kept.append(f"{name.lower()}={unquote(value) if value.startswith(chr(34)) else value}")
    return ";".join(kept), quality


def _preferences(name: str, value: str) -> str:
    """Members with qualities: their case, spacing and order say nothing (RFC 9110 §12.4.2), only q does."""
    if '"' in value:
        return _plain(name, value)
    out: dict[str, str] = {}
    for member in list_members(value):
        pair = _qualified(member)
        if pair is None or not pair[0]:
            return _plain(name, value)
        choice = pair[0].removeprefix("x-") if name == "accept-encoding" else pair[0]
        if out.setdefault(choice, pair[1]) != pair[1]:
            return _plain(name, value)
    return ",".join(choice + (f";q={quality}" if quality else "") for choice, quality in sorted(out.items()))


_NORMAL: dict[str, Callable[[str, str], str]] = {
    "accept": _preferences,
    "accept-encoding": _preferences,
    "accept-language": _preferences,
}
