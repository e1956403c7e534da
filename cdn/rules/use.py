"""May this stored response answer this request (RFC 9111 §4), and if not, what comes instead?

The caller has found the record by key and Vary. Nothing here fetches; `now` is an argument.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from cdn.config.values import CachePolicy
from cdn.rules.directives import NO_REQUEST_DIRECTIVES, RequestDirectives, request_directives
from cdn.rules.message import RequestHead
from cdn.rules.norms import DELTA_MAX, ERROR_STATUSES
from cdn.rules.stored import Stored


class Decision(StrEnum):
    SERVE = "serve"
    SERVE_STALE_SWR = "serve-stale-swr"  # serve now, validate in the background
    SERVE_STALE_SIE = "serve-stale-sie"  # validation failed, this is better than an error
    VALIDATE = "validate"
    FETCH = "fetch"
    GATEWAY_TIMEOUT = "gateway-timeout"  # 504: asked not to go to the origin, or stale must not be served


@dataclass(frozen=True, slots=True)
class Use:
    decision: Decision
    reason: str


_SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "QUERY", "PROPFIND", "REPORT", "SEARCH"})


def method_is_cacheable(method: str) -> bool:
    """May a stored response answer this method? Method names are case-sensitive (RFC 9110 §9.1).

    QUERY only where its content is part of the key (RFC 10008 §2.7).
    """
    return method in ("GET", "HEAD", "QUERY")


def is_unsafe(method: str) -> bool:
    """Unknown methods count as unsafe (RFC 9111 §4.4)."""
    return method not in _SAFE


def is_error(status: int) -> bool:
    """An origin's answer that a stale response is better than (RFC 5861 §4)."""
    return status in ERROR_STATUSES


def decide_use(
    request: RequestHead,
    stored: Stored | None,
    policy: CachePolicy,
    now: int,
    origin_failed: bool = False,
) -> Use:
    """`origin_failed`: the origin could not be reached, or `is_error` holds for what it answered.

    With `origin_failed` the answer is never VALIDATE or FETCH: GATEWAY_TIMEOUT then means that the failure is
    the answer.
    """
    if not method_is_cacheable(request.method):
        return Use(Decision.FETCH, "method")
    asks = (
        NO_REQUEST_DIRECTIVES if policy.request_directives == "none" else request_directives(request.fields)
    )
    if stored is None:
        use = Use(Decision.FETCH, "not-stored")
    elif origin_failed:
        return _after_failure(stored, asks, policy, now)
    else:
        use = _from_stored(stored, asks, policy, now)
    if origin_failed:
        return Use(Decision.GATEWAY_TIMEOUT, "origin-failed")
    if asks.only_if_cached and use.decision in (Decision.FETCH, Decision.VALIDATE):
        return Use(Decision.GATEWAY_TIMEOUT, "only-if-cached")
    return use


def _from_stored(stored: Stored, asks: RequestDirectives, policy: CachePolicy, now: int) -> Use:
    if stored.no_cache:
        return Use(Decision.VALIDATE, "no-cache")
    if asks.no_cache:
        return Use(Decision.VALIDATE, "request-no-cache")
    fresh = now < stored.fresh_until
    if asks.max_age is not None and _too_old(stored, asks.max_age, now) and not (stored.immutable and fresh):
        return Use(Decision.VALIDATE, "request-max-age")
    if asks.min_fresh is not None and stored.fresh_until - now < asks.min_fresh * 1000:
        return Use(Decision.VALIDATE, "request-min-fresh")
    if fresh:
        return Use(Decision.SERVE, "fresh")
    if asks.no_store:
        # Nothing of the exchange may be kept, so neither may what a validation would bring.
        return Use(Decision.FETCH, "request-no-store")
    if now < stored.swr_until:
        return Use(Decision.SERVE_STALE_SWR, "stale-while-revalidate")
    if _client_accepts_stale(stored, asks, policy, now):
        return Use(Decision.SERVE, "request-max-stale")
    return Use(Decision.VALIDATE, "stale")


def _too_old(stored: Stored, max_age_s: int, now: int) -> bool:
    """`max-age=0` is a reload: even a response of this very millisecond is validated (RFC 9111 §5.2.1.1)."""
    return max_age_s == 0 or now - stored.born > max_age_s * 1000


def _client_accepts_stale(stored: Stored, asks: RequestDirectives, policy: CachePolicy, now: int) -> bool:
    if policy.request_directives != "all" or asks.max_stale is None or stored.must_revalidate:
        return False
    return asks.max_stale >= DELTA_MAX or now - stored.fresh_until <= asks.max_stale * 1000


def _after_failure(stored: Stored, asks: RequestDirectives, policy: CachePolicy, now: int) -> Use:
    """RFC 9111 §4.2.4, §4.3.3: the client's wish for a validated answer cannot be met by anyone now."""
    if is_error(stored.status):
        return Use(Decision.GATEWAY_TIMEOUT, "stored-error")
    if now < stored.fresh_until:
        return Use(Decision.SERVE, "fresh-origin-failed")
    if now < stored.sie_until:
        return Use(Decision.SERVE_STALE_SIE, "stale-if-error")
    if (
        policy.request_directives == "all"
        and not stored.must_revalidate
        and asks.stale_if_error is not None
        and now - stored.fresh_until <= asks.stale_if_error * 1000
    ):
        return Use(Decision.SERVE_STALE_SIE, "request-stale-if-error")
    return Use(Decision.GATEWAY_TIMEOUT, "stale-forbidden" if stored.must_revalidate else "too-stale")
