"""What the fill lane asks of Python, mostly once: the rules' word on names of fields, on a route and on a response.

Decides nothing itself. What the lane does with bytes follows from what the rules say about a first example; a recipe
that would not give the rules' own record for its example is never used.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from cdn.config.values import FieldEdits, Origin, Rewrite, Route
from cdn.proxy.coding import ENCODERS, described
from cdn.proxy.drafts import draft
from cdn.proxy.passing import shown, told_length
from cdn.rules.cache_status import member
from cdn.rules.coding import normal_encoding, plan
from cdn.rules.fields import HOP_BY_HOP
from cdn.rules.forwarding import continued, loops, origin_fields, replaced
from cdn.rules.freshness import LifetimeSource
from cdn.rules.message import Fields, RequestHead, ResponseHead
from cdn.rules.outcome import NoStoreReason, Outcome
from cdn.rules.stored import Brief, MetaError, decode_vary_marker, encode_tags, encode_vary_marker
from cdn.rules.storing import DECIDING, DontStore, decide_store, stored_fields
from cdn.rules.tags import tags_of
from cdn.rules.validation import variants_request
from cdn.rules.vary import Spec
from cdn.store import Draft
from cdn.tier._wire import NO_BODY, request_head
from cdn.tier.seam import OWN_FIELDS, OriginError

# How a field of a request goes on.
COPIED, DROPPED, CONTINUED = 0, 1, 2

MARKER_LEAD = 3  # bytes of a marker before the names of its first specification
MOST_VARYING, LONGEST = (
    16,
    64,
)  # names that a response varies by, and characters of each: more is not for the lane

# Reasons that lie in the values of `DECIDING` fields, the status and the request alone, never in dates.
_SETTLED = frozenset(
    {
        NoStoreReason.NO_STORE,
        NoStoreReason.PRIVATE,
        NoStoreReason.AUTHORIZATION,
        NoStoreReason.SET_COOKIE,
        NoStoreReason.VARY_STAR,
        NoStoreReason.STATUS,
    }
)
# Lifetimes that are a number, not a difference of dates.
_CONSTANT = frozenset(
    {
        LifetimeSource.OVERRIDE_TTL.value,
        LifetimeSource.S_MAXAGE.value,
        LifetimeSource.MAX_AGE.value,
        LifetimeSource.STATUS_TTL.value,
        LifetimeSource.TTL.value,
    }
)
# Of these the lane reads the values itself, or never needs them.
_READ = frozenset({"date", "age", "etag", "last-modified", "expires", "connection", "content-location"})
# Their values are nobody else's, as a rule: what they say is read of each response.
_TAGS = frozenset({"cache-groups", "cache-tag", "surrogate-key"})
# Fields of the shown head that a record knows the places of, or that are added where they are missing.
_SHOWN = frozenset({"date", "etag", "last-modified"})
# Responses that only the general lane stores: what they mean depends on more than themselves.
_AWAY = frozenset({"no-vary-search"})

_MISSES = ("uri-miss", "vary-miss")
_PLAIN = RequestHead("GET", "http", "-", "/", None, Fields())


def request_treatment(name: str, edits: FieldEdits | None, trusted: bool) -> int:
    """What becomes of a request field (lower case) of a GET or HEAD where a route has these edits."""
    if name in HOP_BY_HOP or name in OWN_FIELDS:
        return DROPPED
    if continued(name, trusted=trusted):
        return CONTINUED
    if replaced(name, "GET", trusted=trusted) or (edits is not None and name in _edited(edits)):
        return DROPPED
    return COPIED


def _edited(edits: FieldEdits) -> frozenset[str]:
    return frozenset(name.lower() for name in (*edits.remove, *(name for name, _ in edits.set)))


def request_tail(
    edits: FieldEdits | None,
    node: str,
    secure: bool,
    authority: bytes,
    peer: str,
    trusted: bool,
    lines: list[tuple[str, str]],
) -> bytes | None:
    """The field lines that we write into a request, and the empty line. `lines`: the CONTINUED ones of the client's.

    None: refused as a loop, or not to be sent, which the general lane says.
    """
    fields = Fields(lines)
    if loops(fields, node):
        return None
    request = RequestHead(
        "GET", "https" if secure else "http", authority.decode("latin-1"), "/", None, fields
    )
    sent = origin_fields(request, node=node, peer=peer, trusted=trusted, edits=edits)
    try:
        head = request_head("GET", "/", "-", sent, NO_BODY)
    except OriginError:
        return None
    return head.removeprefix(b"GET / HTTP/1.1\r\nHost: -\r\n")


def takes(route: Route, origin: Origin) -> bool:
    """Whether the lane may ask this route's origin: servers, and the path as it came."""
    own = origin.directory is None and origin.s3 is None
    return own and bool(origin.servers) and route.rewrite == Rewrite()


def encoding(value: bytes | None, codings: tuple[str, ...]) -> bytes:
    """The Accept-Encoding that says about these codings what the client's does, all lines joined; None: it has none."""
    return normal_encoding(None if value is None else value.decode("latin-1"), codings).encode("latin-1")


def as_it_came(route: Route, request: RequestHead, head: ResponseHead) -> bool:
    """Whether an answer to HEAD is shown as the origin gave it on a route with codings (`coding.described`), whatever
    its dates are."""
    assert route.cache is not None
    declared = head.fields.all("content-length")
    length = int(declared[0]) if len(declared) == 1 and declared[0].isdecimal() else None
    return plan(request, head, route.compress, ENCODERS, length, route.cache.targets).head == head


def told(
    route: Route, request: RequestHead, head: ResponseHead, request_time: int, response_time: int
) -> tuple[bytes, int]:
    """An answer to HEAD that is not shown as it came: `passing.shown` of it, and the length to repeat or -1."""
    head = described(route, request, head, request_time, response_time)
    return shown(head, route, response_time), told_length(head)


def tagged(lines: list[tuple[str, str]], request: RequestHead | None) -> bytes:
    """Of a response's fields that name it, what stands at the end of its record's meta. Where there are cache groups,
    `request` is needed: they belong to its origin."""
    return encode_tags(tags_of(request or _PLAIN, Fields(lines)))


def specs_of(marker: bytes) -> tuple[Spec, ...] | None:
    """By what a URL's responses vary, as its marker's meta says; None for foreign bytes."""
    try:
        return decode_vary_marker(marker)
    except MetaError:
        return None


def asks_about(variants: list[Brief]) -> bytes:
    """The field line that asks whether one of these variants would do (RFC 9111 §4.3.1); empty where none has a tag."""
    fields = variants_request(_PLAIN, variants)
    return b"".join(f"{name}: {value}\r\n".encode("latin-1") for name, value in fields)


def pass_status(node: str, reason: str) -> bytes:
    """The Cache-Status line of a response that is passed because its route says `cache: off`, or by a rule of it."""
    text = member(node, Outcome.PASS, fwd="bypass", detail=reason)
    return f"Cache-Status: {text}\r\n".encode("latin-1")


def unstored_status(node: str, status: int, reason: str, varies: bool) -> bytes:
    """The Cache-Status line of a miss that is not stored; `varies`: of a further variant."""
    text = member(node, Outcome.MISS, fwd=_MISSES[varies], fwd_status=status, detail=reason)
    return f"Cache-Status: {text}\r\n".encode("latin-1")


def stored_status(node: str, varies: bool) -> tuple[bytes, bytes]:
    """What goes before and behind the ttl in the Cache-Status line of a miss that is stored."""
    before, _, behind = member(node, Outcome.MISS, ttl=0, fwd=_MISSES[varies], stored=True).partition("ttl=0")
    return f"Cache-Status: {before}ttl=".encode("latin-1"), f"{behind}\r\n".encode("latin-1")


@dataclass(frozen=True, slots=True)
class Form:
    """What follows from the names of a response's fields alone, in their order, on one route.

    Masks have a bit for each line. `passed`: the lines that go to a client when the response is not stored, `set_lines`
    what comes behind them, `dated` whether they have a Date. `deciding`: lines whose values are in a recipe's key;
    `tags`: those that name it, `grouped`: by its origin, too; `edited`: those that the route takes out of it.
    `recipes`: whether there can be any; `away`: a storable one is for the general lane.
    """

    passed: int
    set_lines: bytes
    dated: bool
    deciding: int
    tags: int
    grouped: bool
    edited: int
    recipes: bool
    away: bool


def form_of(names: list[str], route: Route) -> Form:
    lower = [name.lower() for name in names]
    edits = route.headers.response
    edited = _edited(edits)
    drop = HOP_BY_HOP | {"content-length"} | edited
    shown = [name not in drop for name in lower]
    dated = any(show and name == "date" for show, name in zip(shown, lower, strict=True))
    read = DECIDING | frozenset(() if route.cache is None else route.cache.targets)
    single = all(lower.count(name) <= 1 for name in ("date", "age", "etag", "last-modified"))
    # what a field that is set replaces may be the same, and what is read of a head is read of the shown one
    put = {name.lower() for name, _ in edits.set}
    plain = not put.intersection(lower) and not edited.intersection(_SHOWN)
    if route.compress:
        read |= {"content-type"}
    return Form(
        passed=_mask(shown),
        set_lines="".join(f"{name}: {value}\r\n" for name, value in edits.set).encode("latin-1"),
        dated=dated or any(name.lower() == "date" for name, _ in edits.set),
        deciding=_mask([name in read and name not in _READ and name not in _TAGS for name in lower]),
        tags=_mask([name in _TAGS for name in lower]),
        grouped="cache-groups" in lower,
        edited=_mask([name in edited for name in lower]),
        recipes=single and plain and not _AWAY.intersection(lower),
        away=bool(_AWAY.intersection(lower)),
    )


def _mask(bits: list[bool]) -> int:
    return sum(1 << index for index, bit in enumerate(bits) if bit)


@dataclass(frozen=True, slots=True)
class Judged:
    """`reason` when the response is not stored, else its record. `away`: it is stored by the general lane only.

    `settled`: a response with the same names, deciding values and status, to a request that has credentials or has not
    like this one, is treated the same, but for dates.
    """

    reason: str | None
    draft: Draft | None
    away: bool
    settled: bool
    vary: Spec = ()
    names: bytes | None = None  # `vary` as a marker lists it, where it varies
    tags: bytes = b""  # as they stand at the end of the record's meta
    stale: tuple[int, int, int] = (0, 0, 0)  # fresh, swr, sie: ms from birth
    of_request: bool = False  # the reason says nothing about other requests


def judge(
    route: Route,
    request: RequestHead,
    head: ResponseHead,
    request_time: int,
    response_time: int,
    length: int | None,
) -> Judged:
    """The rules' decision on a response to a plain GET that nobody has stored anything for; `length` is its body's.

    What is to be coded on its way into the store, or gets another head there, is for the general lane.
    """
    assert route.cache is not None
    planned = plan(request, head, route.compress, ENCODERS, length, route.cache.targets)
    decision = decide_store(
        request, planned.head, route.cache, request_time=request_time, response_time=response_time
    )
    if isinstance(decision, DontStore):
        reason = decision.reason
        of_request = reason is NoStoreReason.AUTHORIZATION
        return Judged(reason.value, None, False, reason in _SETTLED, of_request=of_request)
    whole = stored_fields(head.fields, frozenset(), response_time)
    vary, born = decision.vary, decision.born
    decision = replace(decision, flags=decision.flags | planned.flags)
    away = (
        planned.coding is not None
        or whole != decision.fields
        or len(vary) > MOST_VARYING
        or any(len(name) > LONGEST for name in vary)
    )
    return Judged(
        None,
        draft(decision, route.headers.response, old_origin=head.version < (1, 1)),
        away,
        decision.lifetime_source in _CONSTANT,
        vary,
        encode_vary_marker((vary,))[MARKER_LEAD:] if vary and not away else None,
        encode_tags(decision.tags),
        (decision.fresh_until - born, decision.swr_until - born, decision.sie_until - born),
    )
