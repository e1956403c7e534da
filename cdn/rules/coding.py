"""Which content coding a stored response gets, and what its head then says (RFC 9110 §8.4, §12.5.3).

Decides by the request's Accept-Encoding, the route's list of codings and the response's head; compresses nothing. On
a route with codings the request's field is first brought to its normal form (`normal_encoding`): that is what the
origin is asked with and what variants are told apart by, so there are no more variants than orders of that list.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from cdn.rules.directives import request_directives, response_directives
from cdn.rules.fields import list_members
from cdn.rules.message import Fields, RequestHead, ResponseHead
from cdn.rules.norms import CODED_FROM, COMPRESSIBLE_SUFFIXES, COMPRESSIBLE_TYPES, NEVER_CODED, UNCODED_TEXT
from cdn.rules.stored import NO_FLAGS, Brief, Flag, Stored

IDENTITY = "identity"
OURS = Flag.NEGOTIATED | Flag.CODED | Flag.WEAKENED

_CACHED_LENGTH = 256  # longer values are not worth remembering
_QUALITY = re.compile(r"(?:0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)\Z")
# They describe the bytes that are replaced (RFC 9530; RFC 1864; RFC 9110 §8.6). Accept-Ranges would invite parts that a
# weak entity-tag cannot join.
_OF_THE_BYTES = frozenset(
    {"content-length", "content-md5", "digest", "content-digest", "repr-digest", "accept-ranges"}
)


@dataclass(frozen=True, slots=True)
class Plan:
    """`head` as it is to be stored; `coding` what its body is to be encoded with; `flags` for the record."""

    head: ResponseHead
    coding: str | None = None
    flags: Flag = NO_FLAGS


# --- what a client takes ---


def _parse(value: str) -> dict[str, int]:
    """Thousandths by coding, lower case; a member that is malformed says nothing, of repeated ones the first counts."""
    out: dict[str, int] = {}
    for member in list_members(value):
        name, *parameters = (part.strip(" \t") for part in member.split(";"))
        quality = 1000
        for parameter in parameters:
            key, _, text = parameter.partition("=")
            if key.lower() != "q" or not _QUALITY.match(text):
                break
            quality = round(float(text) * 1000)
        else:
            out.setdefault(name.lower().removeprefix("x-"), quality)
    return out


_parse_cached = lru_cache(maxsize=512)(_parse)


def _qualities(value: str) -> dict[str, int]:
    return _parse_cached(value) if len(value) <= _CACHED_LENGTH else _parse(value)


def accepted(value: str | None, codings: Sequence[str]) -> tuple[str, ...]:
    """Those of `codings` that the client takes and does not like less than no coding at all, the best first.

    Of equals the earlier in `codings` is better. Without the field: none; who names no coding may not know any.
    """
    if value is None:
        return ()
    qualities = _qualities(value)
    rest = qualities.get("*", 0)
    plain = qualities.get(IDENTITY, rest)  # where it is not named it is the last resort
    found = [(qualities.get(coding, rest), coding) for coding in codings]
    found = [(quality, coding) for quality, coding in found if quality > 0 and quality >= plain]
    return tuple(coding for _, coding in sorted(found, key=lambda pair: -pair[0]))


def normal_encoding(value: str | None, codings: Sequence[str]) -> str:
    """The Accept-Encoding that says the same about `codings` and nothing else: "identity" where none is taken."""
    chosen = accepted(value, codings)
    if not chosen:
        return IDENTITY
    if list(chosen) == [coding for coding in codings if coding in chosen]:
        return ", ".join(chosen)
    worse = [f"{coding};q=0.{9 - rank}" for rank, coding in enumerate(chosen[1:])]
    return ", ".join([chosen[0], *worse])


def negotiated(request: RequestHead, codings: Sequence[str], *, directives: bool = True) -> RequestHead:
    """The request with Accept-Encoding in its normal form. `no-transform` (RFC 9111 §5.2.1.6) asks for no coding.

    `directives`: whether the route listens to the Cache-Control of requests.
    """
    value = request.fields.get("accept-encoding")
    if directives and "cache-control" in request.fields and request_directives(request.fields).no_transform:
        value = None
    line = ("Accept-Encoding", normal_encoding(value, codings))
    return replace(request, fields=request.fields.without(("accept-encoding",)).plus([line]))


def fits(stored: Stored | Brief, fields: Fields, codings: Sequence[str]) -> bool:
    """Whether a stored variant may answer this request as far as its coding goes (an origin may say so: §4.3.4).

    A 304 tells which entity-tag is current. A weak one is the same for every coding, so it cannot tell that the client
    takes this one.
    """
    value = fields.get("accept-encoding")
    named = stored.content_coding
    if named is None:
        return not (codings and stored.flags & Flag.NEGOTIATED and accepted(value, codings))
    qualities = _qualities(value or "")
    rest = qualities.get("*", 0)
    return all(qualities.get(name.lower().removeprefix("x-"), rest) > 0 for name in list_members(named))


# --- what a response gets ---


def compressible(fields: Fields) -> bool:
    """By its media type (RFC 9110 §8.3.1); not without one, nor with several."""
    lines = fields.all("content-type")
    if len(lines) != 1:
        return False
    kind = lines[0].partition(";")[0].strip(" \t").lower()
    if kind.startswith("text/"):
        return kind not in UNCODED_TEXT
    return kind in COMPRESSIBLE_TYPES or kind.endswith(COMPRESSIBLE_SUFFIXES)


def _forbidden(response: ResponseHead, targets: Sequence[str]) -> bool:
    """no-transform, in the field that governs us or in Cache-Control: the latter is for all intermediaries."""
    fields = response.fields
    return response_directives(fields, targets).no_transform or response_directives(fields, ()).no_transform


def plan(
    request: RequestHead,
    response: ResponseHead,
    codings: Sequence[str],
    available: Iterable[str],
    length: int | None,
    targets: Sequence[str] = (),
) -> Plan:
    """What is stored of this response on a route with `codings`, of which `available` can be made now.

    `request` is a `negotiated` one, `length` the body's (None: not known), `targets` the route's RFC 9213 list. A
    coding of the origin's own is kept. What could have been coded says so in Vary, coded or not.
    """
    fields = response.fields
    if not codings or response.status in NEVER_CODED or "content-range" in fields:
        return Plan(response)
    if "content-encoding" in fields:
        return Plan(replace(response, fields=varying(fields)), None, Flag.NEGOTIATED)
    if (
        not compressible(fields)
        or (length is not None and length < CODED_FROM)
        or _forbidden(response, targets)
    ):
        return Plan(response)
    possible = frozenset(available)
    wanted = accepted(request.fields.get("accept-encoding"), codings)
    coding = next((name for name in wanted if name in possible), None)
    if coding is None:
        return Plan(replace(response, fields=varying(fields)), None, Flag.NEGOTIATED)
    flags = Flag.NEGOTIATED | Flag.CODED
    if any(value.startswith('"') for value in fields.all("etag")):
        flags |= Flag.WEAKENED
    return Plan(replace(response, fields=coded(varying(fields), coding)), coding, flags)


def varying(fields: Fields) -> Fields:
    """With Accept-Encoding in Vary."""
    lines = list(fields)
    last = -1
    for index, (name, value) in enumerate(lines):
        if name.lower() == "vary":
            members = [member.lower() for member in list_members(value)]
            if "accept-encoding" in members or "*" in members:
                return fields
            last = index
    if last < 0:
        return fields.plus([("Vary", "Accept-Encoding")])
    name, value = lines[last]
    lines[last] = (name, f"{value}, Accept-Encoding" if value.strip(" \t,") else "Accept-Encoding")
    return Fields(lines)


def coded(fields: Fields, coding: str) -> Fields:
    """The fields of the same representation in this coding.

    A strong entity-tag is made weak: it named the origin's bytes, and weakly all codings of them are the same (RFC 9110
    §8.8.1).
    """
    lines = []
    for name, value in fields:
        lower = name.lower()
        if lower in _OF_THE_BYTES:
            continue
        lines.append((name, weak(value)) if lower == "etag" else (name, value))
    return Fields([*lines, ("Content-Encoding", coding)])


def weak(etag: str) -> str:
    return f"W/{etag}" if etag.startswith('"') else etag


def updated(stored: Stored, fields: Fields) -> Fields:
    """What a 304 made of the fields of a stored response, less what it said of bytes that are not ours (§3.2)."""
    if not stored.flags & Flag.NEGOTIATED:
        return fields
    fields = varying(fields)
    if not stored.flags & Flag.CODED:
        return fields
    gone = fields.without(_OF_THE_BYTES)
    return Fields((name, weak(value)) if name.lower() == "etag" else (name, value) for name, value in gone)


def outdated(stored: Stored, codings: Sequence[str], targets: Sequence[str]) -> bool:
    """Whether a reload changed what this record should be: it is then fetched again."""
    if stored.flags & Flag.CODED:
        named = stored.fields.get("content-encoding")
        return named is None or list_members(named)[-1] not in codings
    head = ResponseHead(stored.status, stored.fields)
    planned = plan(
        _NOBODY, head, codings, (), stored.body_length if stored.body_length >= 0 else None, targets
    )
    return bool(planned.flags & Flag.NEGOTIATED) and not stored.flags & Flag.NEGOTIATED


_NOBODY = RequestHead("GET", "http", "", "/", None, Fields())


def not_modified(request: RequestHead, response: ResponseHead, codings: Sequence[str]) -> ResponseHead:
    """An origin's 304 for a client that may hold a coded response: its entity-tag is then the weak one it named."""
    named = request.fields.get("if-none-match")
    etags = response.fields.all("etag")
    if response.status != 304 or not codings or named is None or len(etags) != 1:
        return response
    held = weak(etags[0])
    if held == etags[0] or held not in list_members(named):
        return response
    lines = [(name, held if name.lower() == "etag" else value) for name, value in varying(response.fields)]
    return replace(response, fields=Fields(lines))


def alone(fields: Fields, codings: Sequence[str]) -> Fields:
    """A request's fields for the origin where the client is answered by it alone.

    An If-Range with a date would let the client join parts of different codings: the date is the same for all of them
    (RFC 9110 §8.8.2.2).
    """
    dates = [value for value in fields.all("if-range") if not value.endswith('"')]
    return fields.without(("range", "if-range")) if codings and dates else fields
