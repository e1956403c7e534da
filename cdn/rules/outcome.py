"""The names of what can happen to a request: for code, Cache-Status, log, metrics and tests alike."""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """What a request got. A request has exactly one."""

    HIT = "hit"
    STALE_SWR = "stale-swr"
    STALE_SIE = "stale-sie"
    REVALIDATED = "revalidated"
    MISS = "miss"
    COLLAPSED = "collapsed"
    PASS = "pass"
    SYNTHETIC = "synthetic"
    ERROR = "error"


class NoStoreReason(StrEnum):
    """Why a response was not stored. An unstored response has exactly one."""

    METHOD = "method"
    STATUS = "status"
    NO_STORE = "no-store"
    REQUEST_NO_STORE = "request-no-store"
    PRIVATE = "private"
    AUTHORIZATION = "authorization"
    SET_COOKIE = "set-cookie"
    VARY_STAR = "vary-star"
    PARTIAL = "partial"
    NO_FRESHNESS = "no-freshness"  # nothing says how long, and no validator to ask with
    ROUTE_OFF = "route-off"
    BYPASS = "bypass"
    TOO_LARGE = "too-large"
    NO_SPACE = "no-space"
    TRUNCATED = "truncated"
    CLOSE_DELIMITED = "close-delimited"  # no framing proves the body's end (RFC 9112 §6.3)
    PREDICTED_UNCACHEABLE = "predicted-uncacheable"
    NO_TRANSFORM = "no-transform"  # coded here before its origin forbade that
    BEHIND = "behind"  # the edge that asks knows a purge which this shield does not yet
    PURGED = "purged"  # the purge came while it was on its way
