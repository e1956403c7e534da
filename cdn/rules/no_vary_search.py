"""Which differences between queries a response declares to mean nothing: No-Vary-Search.

After draft-ietf-httpbis-no-vary-search-10 (October 2026): `params` and `except` are lists, and only one of them may
be there; the boolean `params` of earlier revisions is malformed by now. A `Variance` is what the field says, None its
default: queries are compared byte by byte. Only compares; where equivalent responses lie is not known here.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from cdn.rules.message import Fields
from cdn.rules.structured import InnerList, Item, MalformedError, Member, parse_dictionary

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Variance:
    """`all_but`: every parameter is ignored but those in `names`; else those in `names` are."""

    any_order: bool
    all_but: bool
    names: frozenset[str]


def variance(fields: Fields) -> Variance | None:
    """What a response's field says (§5); None where it has none, says nothing or is malformed."""
    value = fields.get("no-vary-search")
    if value is None:
        return None
    try:
        members = parse_dictionary(value)
        any_order = _boolean(members.get("key-order"))
        params, kept = members.get("params"), members.get("except")
        if params is not None and kept is not None:
            return None
        listed = params if kept is None else kept
        names = frozenset[str]() if listed is None else _names(listed)
    except MalformedError:
        return None
    if not any_order and kept is None and not names:
        return None
    return Variance(any_order, kept is not None, names)


def _boolean(member: Member | None) -> bool:
    if member is None:
        return False
    if not isinstance(member, Item) or not isinstance(member.value, bool):
        raise MalformedError("not a boolean")
    return member.value


def _names(member: Member) -> frozenset[str]:
    """Names as parameters are decoded (§5.3). Tokens are not strings."""
    if not isinstance(member, InnerList) or any(type(item.value) is not str for item in member.items):
        raise MalformedError("not a list of strings")
    return frozenset(_decoded(str(item.value)) for item in member.items)


def _decoded(text: str) -> str:
    return unquote_to_bytes(text.replace("+", " ").encode("latin-1")).decode("utf-8", "replace")


def significant(query: str | None, said: Variance) -> Pairs:
    """What of a query tells responses apart; two are equivalent exactly when these are equal (§6).

    The parameters are parsed as application/x-www-form-urlencoded: `+` is a space, no value is an empty one.
    """
    pairs: list[tuple[str, str]] = []
    for text in (query or "").split("&"):
        if text:
            name, _, value = text.partition("=")
            name = _decoded(name)
            if (name in said.names) is said.all_but:
                pairs.append((name, _decoded(value)))
    if said.any_order:
        pairs.sort(key=lambda pair: pair[0])  # stable: values of one name keep their order
    return tuple(pairs)


def equivalent(one: str | None, other: str | None, said: Variance | None) -> bool:
    """Whether a response to the query `one` that says this may answer a request for `other`."""
    return one == other if said is None else significant(one, said) == significant(other, said)
