"""How old a response is and how long it is fresh (RFC 9111 §4.2).

Ages and lifetimes are milliseconds; the protocol's own numbers are whole seconds. Decides no storing and no
reuse.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from cdn.config.values import CachePolicy
from cdn.rules.dates import parse_date
from cdn.rules.directives import ResponseDirectives, delta_seconds, response_directives
from cdn.rules.fields import list_members
from cdn.rules.message import Fields, ResponseHead
from cdn.rules.norms import EXPLICIT_ONLY_STATUSES, HEURISTIC_DIVISOR, HEURISTIC_MAX_S, HEURISTIC_STATUSES


class LifetimeSource(StrEnum):
    """What a freshness lifetime was taken from, strongest first."""

    OVERRIDE_TTL = "override_ttl"
    S_MAXAGE = "s-maxage"
    MAX_AGE = "max-age"
    EXPIRES = "Expires"
    STATUS_TTL = "status_ttl"
    TTL = "ttl"
    HEURISTIC = "heuristic"
    NONE = "none"


EXPLICIT = frozenset({LifetimeSource.S_MAXAGE, LifetimeSource.MAX_AGE, LifetimeSource.EXPIRES})
CONFIGURED = frozenset({LifetimeSource.OVERRIDE_TTL, LifetimeSource.STATUS_TTL, LifetimeSource.TTL})


@dataclass(frozen=True, slots=True)
class Lifetime:
    """`ms` counts from the response's birth, not from its receipt."""

    ms: int
    source: LifetimeSource

    @property
    def explicit(self) -> bool:
        """The response itself says so."""
        return self.source in EXPLICIT


def date_value(fields: Fields, response_time: int) -> int:
    """The Date field in seconds; the time of receipt where it is missing or invalid (RFC 9110 §6.6.1)."""
    lines = fields.all("date")
    date = parse_date(lines[0], response_time // 1000) if lines else None
    return response_time // 1000 if date is None else date


def age_value(fields: Fields) -> int:
    """The Age field in seconds: its first member, 0 when that is no non-negative integer (RFC 9111 §5.1)."""
    value = fields.get("age")
    if value is None:
        return 0
    members = list_members(value)
    return delta_seconds(members[0]) if members else 0


def corrected_initial_age(response: ResponseHead, request_time: int, response_time: int) -> int:
    """Milliseconds of age at `response_time` (RFC 9111 §4.2.3).

    Dates have whole seconds, so the apparent age is counted in those: a Date of this very second is no age at
    all.
    """
    apparent_age = max(0, response_time // 1000 - date_value(response.fields, response_time)) * 1000
    corrected_age = age_value(response.fields) * 1000 + max(0, response_time - request_time)
    return max(apparent_age, corrected_age)


def heuristically_cacheable(status: int, directives: ResponseDirectives, policy: CachePolicy) -> bool:
    """May be stored, and given a guessed or configured lifetime, without naming one itself (RFC 9111 §4.2.2).

    `public` makes any status so, except those that only a named lifetime may make cacheable here (see
    `norms`).
    """
    if status >= 500 or status in EXPLICIT_ONLY_STATUSES:
        return policy.heuristic_errors and (status in HEURISTIC_STATUSES or directives.public)
    return status in HEURISTIC_STATUSES or directives.public


def freshness_lifetime(
    response: ResponseHead,
    policy: CachePolicy,
    response_time: int,
    directives: ResponseDirectives | None = None,
) -> Lifetime:
    """The first that applies: override_ttl, s-maxage, max-age, Expires, status_ttl, ttl, heuristic.

    `no-cache` and `no-store` are not looked at: they say whether a lifetime matters, not how long it is.
    """
    fields = response.fields
    status = response.status
    if directives is None:
        directives = response_directives(fields, policy.targets)
    by_status = dict(policy.status_ttl).get(status) if policy.status_ttl else None
    by_default = heuristically_cacheable(status, directives, policy)
    if policy.override_ttl is not None and (by_status is not None or by_default):
        return Lifetime(policy.override_ttl if by_status is None else by_status, LifetimeSource.OVERRIDE_TTL)
    if directives.s_maxage is not None:
        return Lifetime(directives.s_maxage * 1000, LifetimeSource.S_MAXAGE)
    if directives.max_age is not None:
        return Lifetime(directives.max_age * 1000, LifetimeSource.MAX_AGE)
    expires = fields.all("expires") if not directives.targeted else []
    if expires:
        until = parse_date(expires[0], response_time // 1000)
        seconds = 0 if until is None else max(0, until - date_value(fields, response_time))
        return Lifetime(seconds * 1000, LifetimeSource.EXPIRES)
    if by_status is not None:
        return Lifetime(by_status, LifetimeSource.STATUS_TTL)
    if policy.ttl is not None and by_default:
        return Lifetime(policy.ttl, LifetimeSource.TTL)
    if policy.heuristic and by_default and not _http10_no_cache(fields):
        guess = _heuristic_seconds(fields, response_time)
        if guess is not None:
            return Lifetime(guess * 1000, LifetimeSource.HEURISTIC)
    return Lifetime(0, LifetimeSource.NONE)


def _http10_no_cache(fields: Fields) -> bool:
    """An origin that knows only HTTP/1.0 says `Pragma: no-cache`; a guess would go against it."""
    pragma = fields.get("pragma")
    return pragma is not None and "cache-control" not in fields and "no-cache" in pragma.lower()


def _heuristic_seconds(fields: Fields, response_time: int) -> int | None:
    """A tenth of the time since the last change, at most a day; None without a Last-Modified before Date."""
    lines = fields.all("last-modified")
    modified = parse_date(lines[0], response_time // 1000) if lines else None
    if modified is None:
        return None
    since = date_value(fields, response_time) - modified
    return min(since // HEURISTIC_DIVISOR, HEURISTIC_MAX_S) if since > 0 else None
