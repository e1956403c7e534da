"""May this response be stored, and as what (RFC 9111 §3)? Everything that later use needs is decided here,
once.

The result is a `Store`, ready to be written, or a `DontStore` with the one reason. Nothing here knows a
store; whether the body is complete and fits is the caller's to find out.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from cdn import _core
from cdn.config.values import CachePolicy
from cdn.rules.dates import format_date, parse_date
from cdn.rules.directives import ResponseDirectives, request_directives, response_directives
from cdn.rules.fields import HOP_BY_HOP, KEPT, connection_listed, entity_tag
from cdn.rules.freshness import (
    Lifetime,
    LifetimeSource,
    corrected_initial_age,
    date_value,
    freshness_lifetime,
    heuristically_cacheable,
)
from cdn.rules.message import Fields, RequestHead, ResponseHead
from cdn.rules.norms import ANSWERS_TO_FIELDS, ERROR_STATUSES, NEVER_STORED, UNDERSTOOD_STATUSES
from cdn.rules.outcome import NoStoreReason
from cdn.rules.stored import Flag, Stored
from cdn.rules.tags import tags_of
from cdn.rules.uris import names_target
from cdn.rules.vary import STAR, spec

# The response fields whose values decide whether it may be stored and as what, beside those of the route's target list.
# Of every other field only the name counts. Of Expires the value counts only where the lifetime is its own.
DECIDING = frozenset(
    {"age", "cache-control", "cache-groups", "cache-tag", "connection", "content-location", "date", "etag"}
    | {"expires", "last-modified", "pragma", "surrogate-key", "vary"}
)

# Not in the stored form: of the connection, or written anew whenever the response is served.
_NOT_STORED = HOP_BY_HOP | {"age", "content-length"}


class Store(Stored):
    """Store it like this; `body_length` is not known yet."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class DontStore:
    reason: NoStoreReason


def bypass(request: RequestHead, policy: CachePolicy) -> bool:
    """Must this request be passed, without looking into the store and without storing?

    Beside what the route lists: If-Match and If-Unmodified-Since are for the origin to judge (RFC 9111
    §4.3.2).
    """
    fields = request.fields
    if "if-match" in fields or "if-unmodified-since" in fields:
        return True
    listed = policy.bypass
    if listed.headers:
        patterns = _patterns(listed.headers)
        if any(name.lower().encode("latin-1") in patterns for name, _ in fields):
            return True
    if listed.cookies:
        patterns = _patterns(listed.cookies)
        if any(name in patterns for name in _cookie_names(fields)):
            return True
    if not listed.query or not request.query:
        return False
    return _patterns(listed.query).in_query(request.query.encode("latin-1"))


# One compiled form for each list of the configuration, the form that the hit lane matches with too.
_patterns = lru_cache(maxsize=256)(_core.NamePatterns)


def _cookie_names(fields: Fields) -> list[bytes]:
    pairs = [pair for line in fields.all("cookie") for pair in line.split(";")]
    return [pair.partition("=")[0].strip(" \t").encode("latin-1") for pair in pairs]


def decide_store(
    request: RequestHead,
    response: ResponseHead,
    policy: CachePolicy | None,
    *,
    request_time: int,
    response_time: int,
) -> Store | DontStore:
    """`request` as the client sent it, `response` as the origin did. Times are those of the request to the
    origin.
    """
    if policy is None:
        return DontStore(NoStoreReason.ROUTE_OFF)
    if bypass(request, policy):
        return DontStore(NoStoreReason.BYPASS)
    directives = response_directives(response.fields, policy.targets)
    reason = _forbidden(request, response, policy, directives)
    if reason is not None:
        return DontStore(reason)
    lifetime = freshness_lifetime(response, policy, response_time, directives)
    status = response.status
    if lifetime.source is LifetimeSource.NONE and not heuristically_cacheable(status, directives, policy):
        return DontStore(NoStoreReason.STATUS)
    if request.method == "POST" and not _post_storable(request, response, lifetime):
        return DontStore(NoStoreReason.METHOD)
    record = _compile(request, response, policy, directives, lifetime, request_time, response_time)
    if not record.has_validator and not _usable_unasked(record, directives, response_time):
        return DontStore(NoStoreReason.NO_FRESHNESS)
    return record


def _usable_unasked(record: Stored, directives: ResponseDirectives, now: int) -> bool:
    """Is there a moment at which it answers without the origin having been asked?

    An outage is such a moment only where the response itself names stale-if-error: else whatever comes with
    max-age=0 would fill the store for the rare case.
    """
    if record.fresh_until > now or record.swr_until > now:
        return True
    return directives.stale_if_error is not None and record.sie_until > now


def ends_older(status: int, reason: NoStoreReason) -> bool:
    """Does a response that may not be stored for this reason show that an older stored one is out of date?

    It would have taken its place (RFC 9111 §4: the most recent response is to be used). An error or a refusal says
    nothing about what is stored, and a reason that lies in the request or in this node nothing about the resource.
    """
    replaces = 200 <= status < 400 and status not in (206, 304)
    return reason in _OF_THE_RESPONSE and (replaces or status in (404, 410))


_OF_THE_RESPONSE = frozenset(
    {
        NoStoreReason.NO_STORE,
        NoStoreReason.PRIVATE,
        NoStoreReason.SET_COOKIE,
        NoStoreReason.STATUS,
        NoStoreReason.VARY_STAR,
        NoStoreReason.NO_FRESHNESS,
    }
)


def _forbidden(
    request: RequestHead, response: ResponseHead, policy: CachePolicy, directives: ResponseDirectives
) -> NoStoreReason | None:
    """The first rule that forbids storing, whatever the lifetime; None when none does."""
    status = response.status
    if request.method not in ("GET", "POST", "QUERY"):
        return NoStoreReason.METHOD
    if status == 206:
        return NoStoreReason.PARTIAL
    if not 200 <= status <= 599 or status in NEVER_STORED:
        return NoStoreReason.STATUS
    if any(name in request.fields for name in ANSWERS_TO_FIELDS.get(status, ())):
        return NoStoreReason.STATUS
    understood = status in UNDERSTOOD_STATUSES
    if directives.must_understand and not understood:
        return NoStoreReason.STATUS
    overridden = policy.override_ttl is not None
    if directives.no_store and not directives.must_understand and not overridden:
        return NoStoreReason.NO_STORE
    if policy.request_directives != "none" and request_directives(request.fields).no_store:
        return NoStoreReason.REQUEST_NO_STORE
    if directives.private:
        return NoStoreReason.PRIVATE
    if "authorization" in request.fields and not (
        directives.public or directives.s_maxage is not None or directives.must_revalidate
    ):
        return NoStoreReason.AUTHORIZATION
    if "set-cookie" in response.fields and not _may_share_cookie(response, policy, directives):
        return NoStoreReason.SET_COOKIE
    if spec(response.fields) == STAR:
        return NoStoreReason.VARY_STAR
    return None


def _may_share_cookie(response: ResponseHead, policy: CachePolicy, directives: ResponseDirectives) -> bool:
    """Set-Cookie does not keep a response out of a cache (RFC 9111 §7.3), but it makes us want the origin's own word.

    A lifetime above zero that the response names is one, unless it wants to be asked about before every use; a guess
    or a configured lifetime never is.
    """
    if "set-cookie" in directives.unstored:
        return True
    if not policy.store_set_cookie:
        return False
    if directives.public or directives.s_maxage is not None:
        return True
    if policy.store_set_cookie == "public" or directives.no_cache:
        return False
    if directives.max_age is not None:
        return directives.max_age > 0
    return not directives.targeted and "expires" in response.fields


def _post_storable(request: RequestHead, response: ResponseHead, lifetime: Lifetime) -> bool:
    """RFC 9110 §9.3.3: with explicit freshness and a Content-Location that is the target itself."""
    locations = response.fields.all("content-location")
    return (
        lifetime.explicit
        and 200 <= response.status < 300
        and len(locations) == 1
        and names_target(locations[0], request)
    )


def stored_fields(fields: Fields, unstored: frozenset[str], response_time: int) -> Fields:
    """The stored form: end-to-end fields in their order, Date added where it is missing (RFC 9111 §3.1)."""
    drop = _NOT_STORED | unstored if unstored else _NOT_STORED
    if "connection" in fields:
        drop = drop | (connection_listed(fields) - KEPT)
    kept = [line for line in fields if line[0].lower() not in drop]
    if "date" not in fields or "date" in drop:
        kept.append(("Date", format_date(response_time // 1000)))
    return Fields(kept)


def _compile(
    request: RequestHead,
    response: ResponseHead,
    policy: CachePolicy,
    directives: ResponseDirectives,
    lifetime: Lifetime,
    request_time: int,
    response_time: int,
) -> Store:
    fields = stored_fields(response.fields, directives.unstored, response_time)
    # What is read below is the same in both, and of the received fields the index is there already.
    source = fields if directives.unstored else response.fields
    now_s = response_time // 1000
    born = response_time - corrected_initial_age(response, request_time, response_time)
    overridden = lifetime.source is LifetimeSource.OVERRIDE_TTL
    no_cache = directives.no_cache and not overridden
    never_stale = not overridden and (no_cache or directives.must_revalidate or directives.proxy_revalidate)
    implied = not overridden and directives.s_maxage is not None
    fresh_until = born if no_cache else born + lifetime.ms
    swr = sie = 0
    if not never_stale:
        # s-maxage implies proxy-revalidate; a window that the same response names is the more precise word.
        swr = _window(directives.stale_while_revalidate, 0 if implied else policy.stale_while_revalidate)
        if response.status not in ERROR_STATUSES:  # a stale error is no better than a new one
            sie = _window(directives.stale_if_error, 0 if implied else policy.stale_if_error)
    flags = Flag(0)
    if never_stale or implied:
        flags |= Flag.MUST_REVALIDATE
    if no_cache:
        flags |= Flag.NO_CACHE
    if directives.immutable:
        flags |= Flag.IMMUTABLE
    if directives.no_transform:
        flags |= Flag.NO_TRANSFORM
    if "authorization" in request.fields:
        flags |= Flag.AUTHORIZED
    modified = source.all("last-modified")
    return Store(
        status=response.status,
        reason=response.reason,
        fields=fields,
        born=born,
        fresh_until=fresh_until,
        swr_until=fresh_until + swr,
        sie_until=fresh_until + sie,
        request_time=request_time,
        response_time=response_time,
        date=date_value(source, response_time),
        etag=entity_tag(source),
        last_modified=parse_date(modified[0], now_s) if modified else None,
        vary=spec(response.fields),
        flags=flags,
        lifetime=lifetime.ms,
        lifetime_source=lifetime.source.value,
        tags=tags_of(request, source),
    )


def _window(said_s: int | None, configured_ms: int) -> int:
    return configured_ms if said_s is None else said_s * 1000
