"""May a response be stored, and as what (RFC 9111 §3)?"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdn._core import FIELD_IDS
from cdn.config.values import Bypass, CachePolicy
from cdn.rules.outcome import NoStoreReason as No
from cdn.rules.stored import Flag
from cdn.rules.storing import DECIDING, DontStore, Store, bypass, decide_store, ends_older
from tests.rules.make import (
    DAY_S,
    NOW,
    NOW_S,
    POLICY,
    STRICT,
    date,
    decided,
    lines_of,
    reason,
    request,
    response,
    stored,
)

FRESH = "Cache-Control: max-age=60"
TAG = 'ETag: "a"'

# (request lines, status, response lines, reason; None: stored)
STORING = [
    # §3: explicit expiry, whatever the status
    *[("", status, FRESH, None) for status in (200, 201, 202, 203, 204, 205, 226, 299)],
    *[("", status, FRESH, None) for status in (300, 301, 302, 303, 305, 306, 307, 308, 399)],
    *[
        ("", status, FRESH, None)
        for status in (400, 401, 402, 403, 404, 405, 406, 408, 409, 410, 411, 412, 413, 414)
    ],
    *[("", status, FRESH, None) for status in (415, 416, 417, 418, 421, 422, 425, 428, 429, 431, 451, 499)],
    *[("", status, FRESH, None) for status in (500, 501, 502, 503, 504, 505, 511, 599)],
    *[("", status, "Cache-Control: s-maxage=60", None) for status in (200, 299, 404, 503, 599)],
    *[("", status, "Expires: {+60}", None) for status in (200, 299, 404, 503, 599)],
    # not final, not self-contained, or about the connection
    *[("", status, FRESH, No.STATUS) for status in (100, 101, 103, 304, 407, 600, 999)],
    ("", 206, FRESH, No.PARTIAL),
    ("", 206, FRESH + " | Content-Range: bytes 0-4/10", No.PARTIAL),
    # without expiry: only what can be revalidated, and only statuses that are cacheable by default (RFC 9110
    # §15.1)
    *[("", status, TAG, None) for status in (200, 203, 204, 300, 301, 308, 404, 410)],
    *[
        ("", status, TAG, No.STATUS)
        for status in (201, 202, 205, 299, 302, 303, 307, 400, 403, 405, 413, 414, 431)
    ],
    *[("", status, TAG, No.STATUS) for status in (499, 500, 501, 502, 503, 504, 599)],
    *[("", status, TAG + " | Cache-Control: public", None) for status in (201, 299, 302, 307, 403, 499)],
    *[
        ("", status, TAG + " | Cache-Control: public", No.STATUS)
        for status in (400, 405, 413, 414, 431, 500, 501, 599)
    ],
    ("", 200, "", No.NO_FRESHNESS),
    ("", 200, "Cache-Control: public", No.NO_FRESHNESS),
    ("", 200, "Cache-Control: foo=bar", No.NO_FRESHNESS),
    ("", 200, "Last-Modified: {-1000}", None),
    ("", 200, "Last-Modified: {+1000}", None),
    ("", 200, "Last-Modified: nonsense", No.NO_FRESHNESS),
    ("", 200, 'ETag: W/"a"', None),
    ("", 200, "ETag:", No.NO_FRESHNESS),
    ("", 404, "", No.NO_FRESHNESS),
    # expiry that is already over is of use only with a validator
    ("", 200, "Cache-Control: max-age=0", No.NO_FRESHNESS),
    ("", 200, "Cache-Control: max-age=0 | " + TAG, None),
    ("", 200, "Cache-Control: max-age=60 | Age: 60", No.NO_FRESHNESS),
    ("", 200, "Cache-Control: max-age=60 | Age: 59", None),
    ("", 200, "Cache-Control: max-age=60 | Age: 60 | " + TAG, None),
    ("", 200, "Expires: 0", No.NO_FRESHNESS),
    ("", 200, "Expires: {-1} | " + TAG, None),
    ("", 200, "Cache-Control: no-cache", No.NO_FRESHNESS),
    ("", 200, "Cache-Control: no-cache, max-age=60", No.NO_FRESHNESS),
    ("", 200, "Cache-Control: no-cache | " + TAG, None),
    ("", 200, "Cache-Control: max-age=0, stale-while-revalidate=60", None),
    ("", 200, "Cache-Control: max-age=0, stale-if-error=60", None),
    ("", 200, "Cache-Control: max-age=0, must-revalidate, stale-if-error=60", No.NO_FRESHNESS),
    ("", 299, "Cache-Control: max-age=0 | " + TAG, None),
    # §5.2.2.5 no-store, §5.2.2.3 must-understand
    ("", 200, "Cache-Control: no-store", No.NO_STORE),
    ("", 200, "Cache-Control: No-StOrE, max-age=60", No.NO_STORE),
    ("", 200, "Cache-Control: no-store=foo, max-age=60", No.NO_STORE),
    ("", 200, FRESH + " | Cache-Control: no-store", No.NO_STORE),
    ("", 200, 'Cache-Control: max-age=60, foo="bar, no-store"', None),
    ("", 200, "Cache-Control: max-age=60 no-store", No.NO_STORE),
    ("", 200, "Cache-Control: max-age=60, must-understand, no-store", None),
    ("", 404, "Cache-Control: max-age=60, must-understand, no-store", None),
    ("", 299, "Cache-Control: max-age=60, must-understand, no-store", No.STATUS),
    ("", 299, "Cache-Control: max-age=60, must-understand", No.STATUS),
    ("", 599, "Cache-Control: max-age=60, must-understand", No.STATUS),
    ("", 200, "Cache-Control: max-age=60, must-understand", None),
    ("", 200, "Cache-Control: max-age=60, must-understand=1, no-store", No.NO_STORE),
    # §5.2.1.5
    ("Cache-Control: no-store", 200, FRESH, No.REQUEST_NO_STORE),
    ("Cache-Control: max-age=0 | Cache-Control: No-Store", 200, FRESH, No.REQUEST_NO_STORE),
    ("Cache-Control: no-cache", 200, FRESH, None),
    ("Pragma: no-cache", 200, FRESH, None),
    ("Pragma: no-store", 200, FRESH, None),
    # §5.2.2.7
    ("", 200, "Cache-Control: private", No.PRIVATE),
    ("", 200, "Cache-Control: private, max-age=60", No.PRIVATE),
    ("", 200, "Cache-Control: max-age=60 | Cache-Control: Private", No.PRIVATE),
    ("", 200, "Cache-Control: public, private, max-age=60", No.PRIVATE),
    ("", 200, "Cache-Control: s-maxage=60, private", No.PRIVATE),
    ("", 200, "Cache-Control: max-age=60; private", No.PRIVATE),
    ("", 200, 'Cache-Control: max-age=60, x="a, private', No.PRIVATE),
    ("", 200, 'Cache-Control: private="x-user", max-age=60', None),
    ("", 200, 'Cache-Control: private="", max-age=60', No.PRIVATE),
    ("", 200, 'Cache-Control: private="x", private, max-age=60', No.PRIVATE),
    ("", 200, "Connection: Cache-Control | Cache-Control: private, max-age=60", No.PRIVATE),
    # §3.5
    ("Authorization: Basic eA==", 200, FRESH, No.AUTHORIZATION),
    ("Authorization: Basic eA==", 200, TAG, No.AUTHORIZATION),
    ("Authorization: Basic eA==", 200, "Expires: {+60}", No.AUTHORIZATION),
    ("Authorization: Basic eA==", 200, "Cache-Control: public, max-age=60", None),
    ("Authorization: Basic eA==", 200, "Cache-Control: s-maxage=60", None),
    ("Authorization: Basic eA==", 200, "Cache-Control: max-age=60, must-revalidate", None),
    ("Authorization: Basic eA==", 200, "Cache-Control: max-age=60, proxy-revalidate", No.AUTHORIZATION),
    ("Authorization: Basic eA==", 200, "Cache-Control: max-age=60, no-cache", No.AUTHORIZATION),
    ("Authorization: Basic eA==", 200, "Cache-Control: public=1, max-age=60", No.AUTHORIZATION),
    ("Authorization: Basic eA==", 200, "Cache-Control: public, private, max-age=60", No.PRIVATE),
    ("Authorization:", 200, FRESH, No.AUTHORIZATION),
    ("Connection: Authorization | Authorization: Basic eA==", 200, FRESH, No.AUTHORIZATION),
    ("Cookie: session=1", 200, FRESH, None),
    # §7.3, our own bar
    ("", 200, FRESH + " | Set-Cookie: a=b", None),
    ("", 200, "Cache-Control: max-age=1 | Set-Cookie: a=b", None),
    ("", 200, "Expires: {+60} | Set-Cookie: a=b", None),
    ("", 200, "Cache-Control: public, max-age=60 | Set-Cookie: a=b", None),
    ("", 200, "Cache-Control: s-maxage=60 | Set-Cookie: a=b", None),
    ("", 200, "Cache-Control: max-age=60, must-revalidate | Set-Cookie: a=b", None),
    ("", 200, TAG + " | Set-Cookie: a=b", No.SET_COOKIE),
    ("", 200, "Last-Modified: {-9999} | Set-Cookie: a=b", No.SET_COOKIE),
    ("", 200, TAG + " | Cache-Control: max-age=0 | Set-Cookie: a=b", No.SET_COOKIE),
    ("", 200, TAG + " | Cache-Control: max-age=0 | Expires: {+60} | Set-Cookie: a=b", No.SET_COOKIE),
    ("", 200, TAG + " | Cache-Control: max-age=60, no-cache | Set-Cookie: a=b", No.SET_COOKIE),
    ("", 200, TAG + " | Cache-Control: public, no-cache | Set-Cookie: a=b", None),
    ("", 200, TAG + " | CDN-Cache-Control: foo | Expires: {+60} | Set-Cookie: a=b", No.SET_COOKIE),
    ("", 200, 'Cache-Control: max-age=60, no-cache="set-cookie" | Set-Cookie: a=b', None),
    ("", 200, 'Cache-Control: max-age=60, private="Set-Cookie" | Set-Cookie: a=b', None),
    ("", 200, TAG + ' | Cache-Control: private="x" | Set-Cookie: a=b', No.SET_COOKIE),
    ("Cookie: a=b", 200, FRESH + " | Set-Cookie: a=b", None),
    ("Authorization: x", 200, FRESH + " | Set-Cookie: a=b", No.AUTHORIZATION),
    ("Authorization: x", 200, "Cache-Control: max-age=60, must-revalidate | Set-Cookie: a=b", None),
    # §4.1
    ("", 200, FRESH + " | Vary: *", No.VARY_STAR),
    ("", 200, FRESH + " | Vary: Accept, *", No.VARY_STAR),
    ("", 200, FRESH + " | Vary: Accept | Vary: *", No.VARY_STAR),
    ("", 200, FRESH + " | Vary: not a name", No.VARY_STAR),
    ("", 200, FRESH + " | Vary: Accept", None),
    ("", 200, FRESH + " | Vary:", None),
    # answers to fields that are in no key
    ("If-None-Match: *", 412, FRESH, No.STATUS),
    ("If-Modified-Since: {0}", 412, FRESH, No.STATUS),
    ("Range: bytes=9-", 416, FRESH, No.STATUS),
    ("Expect: 100-continue", 417, FRESH, No.STATUS),
    ("Range: bytes=0-4", 200, FRESH, None),
    ("Range: bytes=0-4", 404, FRESH, None),
    ('If-None-Match: "a"', 200, FRESH, None),
    ('If-Match: "a"', 200, FRESH, No.BYPASS),
    ("If-Unmodified-Since: {0}", 200, FRESH, No.BYPASS),
    # RFC 9213 §2.2
    ("", 200, "CDN-Cache-Control: max-age=60 | Cache-Control: no-store", None),
    ("", 200, "CDN-Cache-Control: max-age=60 | Cache-Control: private", None),
    ("", 200, "CDN-Cache-Control: no-store | Cache-Control: max-age=60", No.NO_STORE),
    ("", 200, "CDN-Cache-Control: private | Cache-Control: max-age=60", No.PRIVATE),
    ("", 200, "CDN-Cache-Control: none | Cache-Control: max-age=60", No.NO_FRESHNESS),
    ("", 200, "CDN-Cache-Control: none | Cache-Control: no-store | " + TAG, None),
    ("", 200, "CDN-Cache-Control: no-store& | Cache-Control: max-age=60", None),
    ("", 200, "CDN-Cache-Control: max-age=60, | Cache-Control: no-store", No.NO_STORE),
    ("", 200, "CDN-Cache-Control: | Cache-Control: no-store", No.NO_STORE),
    ("", 200, "X-Cache-Control: max-age=60 | Cache-Control: no-store", No.NO_STORE),
    ("Authorization: x", 200, "CDN-Cache-Control: max-age=60 | Cache-Control: public", No.AUTHORIZATION),
    ("Authorization: x", 200, "CDN-Cache-Control: max-age=60, public", None),
    ("", 200, "CDN-Cache-Control: max-age=60 | Cache-Control: no-store | Set-Cookie: a=b", None),
    (
        "",
        200,
        TAG + " | CDN-Cache-Control: max-age=0 | Cache-Control: public | Set-Cookie: a=b",
        No.SET_COOKIE,
    ),
]


@pytest.mark.parametrize(("asked", "status", "lines", "why"), STORING)
def test_storing(asked, status, lines, why):
    made = decided(*lines_of(lines), status=status, asked=request(*lines_of(asked)))
    assert reason(made) is why


METHODS = [
    # §3, RFC 9110 §9.3
    ("GET", FRESH, None),
    ("HEAD", FRESH, No.METHOD),
    ("POST", FRESH, No.METHOD),
    ("PUT", FRESH + " | Content-Location: /p", No.METHOD),
    ("DELETE", FRESH, No.METHOD),
    ("OPTIONS", FRESH, No.METHOD),
    ("PATCH", FRESH + " | Content-Location: /p", No.METHOD),
    ("FOO", FRESH, No.METHOD),
    ("get", FRESH, No.METHOD),
    # RFC 9110 §9.3.3
    ("POST", FRESH + " | Content-Location: /p", None),
    ("POST", FRESH + " | Content-Location: http://a.example/p", None),
    ("POST", FRESH + " | Content-Location: http://A.example:80/p", None),
    ("POST", FRESH + " | Content-Location: p", None),
    ("POST", "Cache-Control: s-maxage=60 | Content-Location: /p", None),
    ("POST", "Expires: {+60} | Content-Location: /p", None),
    ("POST", FRESH + " | Content-Location: /q", No.METHOD),
    ("POST", FRESH + " | Content-Location: /p?x", No.METHOD),
    ("POST", FRESH + " | Content-Location: https://a.example/p", No.METHOD),
    ("POST", FRESH + " | Content-Location: http://b.example/p", No.METHOD),
    ("POST", FRESH + " | Content-Location: http://a.example:81/p", No.METHOD),
    ("POST", FRESH + " | Content-Location: /p | Content-Location: /p", No.METHOD),
    ("POST", TAG + " | Content-Location: /p", No.METHOD),
    ("POST", "Last-Modified: {-1000} | Content-Location: /p", No.METHOD),
    ("POST", "Cache-Control: no-store, max-age=60 | Content-Location: /p", No.NO_STORE),
    # RFC 10008 §2.7: as a GET, once its content is in the key
    ("QUERY", FRESH, None),
    ("QUERY", TAG, None),
    ("QUERY", "Content-Location: /x", No.NO_FRESHNESS),
    ("QUERY", "Cache-Control: private, max-age=60", No.PRIVATE),
    ("query", FRESH, No.METHOD),
]


@pytest.mark.parametrize(("method", "lines", "why"), METHODS)
def test_methods(method, lines, why):
    assert reason(decided(*lines_of(lines), asked=request(method=method))) is why


def test_an_error_answer_to_post_is_not_stored():
    lines = lines_of(FRESH + " | Content-Location: /p")
    assert reason(decided(*lines, status=404, asked=request(method="POST"))) is No.METHOD


ROUTES = [
    (None, "", FRESH, No.ROUTE_OFF),
    (CachePolicy(request_directives="none"), "Cache-Control: no-store", FRESH, None),
    (CachePolicy(request_directives="all"), "Cache-Control: no-store", FRESH, No.REQUEST_NO_STORE),
    (
        CachePolicy(store_set_cookie=False),
        "",
        "Cache-Control: public, max-age=9 | Set-Cookie: a=b",
        No.SET_COOKIE,
    ),
    (CachePolicy(store_set_cookie=False), "", "Cache-Control: public, max-age=9", None),
    (CachePolicy(store_set_cookie="public"), "", "Cache-Control: public, max-age=9 | Set-Cookie: a=b", None),
    (CachePolicy(store_set_cookie="public"), "", "Cache-Control: s-maxage=9 | Set-Cookie: a=b", None),
    (CachePolicy(store_set_cookie="public"), "", FRESH + " | Set-Cookie: a=b", No.SET_COOKIE),
    (CachePolicy(store_set_cookie="public"), "", "Expires: {+60} | Set-Cookie: a=b", No.SET_COOKIE),
    (CachePolicy(store_set_cookie="public"), "", FRESH, None),
    (CachePolicy(ttl=9_000), "", "", None),
    (CachePolicy(ttl=9_000), "", "Cache-Control: no-store", No.NO_STORE),
    (CachePolicy(ttl=9_000), "", "Cache-Control: private", No.PRIVATE),
    (CachePolicy(ttl=9_000), "", "Cache-Control: no-cache", No.NO_FRESHNESS),
    (CachePolicy(ttl=9_000), "", "Set-Cookie: a=b", No.SET_COOKIE),
    (CachePolicy(ttl=9_000), "Authorization: x", "", No.AUTHORIZATION),
    (CachePolicy(override_ttl=9_000), "", "Cache-Control: no-store", None),
    (CachePolicy(override_ttl=9_000), "", "Cache-Control: no-cache", None),
    (CachePolicy(override_ttl=9_000), "", "Cache-Control: max-age=0", None),
    (CachePolicy(override_ttl=9_000), "", "Cache-Control: private", No.PRIVATE),
    (CachePolicy(override_ttl=9_000), "", "Set-Cookie: a=b", No.SET_COOKIE),
    (CachePolicy(override_ttl=9_000), "", "Vary: *", No.VARY_STAR),
    (CachePolicy(override_ttl=9_000), "Authorization: x", "", No.AUTHORIZATION),
    (CachePolicy(override_ttl=9_000), "Cache-Control: no-store", "", No.REQUEST_NO_STORE),
    (CachePolicy(stale_while_revalidate=9_000), "", "Cache-Control: max-age=0", None),
    (CachePolicy(bypass=Bypass(cookies=("session",))), "Cookie: session=1", FRESH, No.BYPASS),
]


@pytest.mark.parametrize(("policy", "asked", "lines", "why"), ROUTES)
def test_routes(policy, asked, lines, why):
    assert reason(decided(*lines_of(lines), asked=request(*lines_of(asked)), policy=policy)) is why


BYPASSES = [
    (Bypass(cookies=("session*",)), "Cookie: session=1", None, True),
    (Bypass(cookies=("session*",)), "Cookie: a=b; sessionid=1", None, True),
    (Bypass(cookies=("session*",)), "Cookie: a=b | Cookie: session-x=1", None, True),
    (Bypass(cookies=("session*",)), "Cookie: a=session", None, False),
    (Bypass(cookies=("session*",)), "Cookie: Session=1", None, False),
    (Bypass(cookies=("session",)), "Cookie: session2=1", None, False),
    (Bypass(cookies=("session",)), "Cookie: session", None, True),
    (Bypass(cookies=("session",)), "", None, False),
    (Bypass(headers=("x-preview",)), "X-Preview: 1", None, True),
    (Bypass(headers=("x-preview",)), "X-Previews: 1", None, False),
    (Bypass(headers=("x-*",)), "X-Anything: 1", None, True),
    (Bypass(query=("nocache",)), "", "nocache", True),
    (Bypass(query=("nocache",)), "", "a=1&nocache=1", True),
    (Bypass(query=("nocache",)), "", "a=nocache", False),
    (Bypass(query=("no*",)), "", "nothing=1", True),
    (Bypass(query=("nocache",)), "", "%6eocache=1", True),
    (Bypass(query=("nocache",)), "", "", False),
    (Bypass(query=("nocache",)), "", None, False),
    (Bypass(), "Cookie: a=b", "x", False),
    # RFC 9111 §4.3.2: not for a cache to evaluate
    (Bypass(), 'If-Match: "a"', None, True),
    (Bypass(), "If-Unmodified-Since: {0}", None, True),
    (Bypass(), 'If-None-Match: "a"', None, False),
    (Bypass(), "If-Modified-Since: {0}", None, False),
]


@pytest.mark.parametrize(("listed", "lines", "query", "passed"), BYPASSES)
def test_bypass(listed, lines, query, passed):
    assert bypass(request(*lines_of(lines), query=query), CachePolicy(bypass=listed)) is passed


WINDOWS = [
    # §4.2.4, RFC 5861: (policy, lines, fresh s, swr s, sie s, must_revalidate)
    (STRICT, FRESH, 60, 60, 60, False),
    (STRICT, "Cache-Control: max-age=60, stale-while-revalidate=10", 60, 70, 60, False),
    (STRICT, "Cache-Control: max-age=60, stale-if-error=10", 60, 60, 70, False),
    (STRICT, "Cache-Control: max-age=60, stale-if-error=10, stale-while-revalidate=5", 60, 65, 70, False),
    (STRICT, "Cache-Control: max-age=60, stale-while-revalidate=x", 60, 60, 60, False),
    (STRICT, "Cache-Control: max-age=60, stale-while-revalidate=10, must-revalidate", 60, 60, 60, True),
    (STRICT, "Cache-Control: max-age=60, stale-while-revalidate=10, proxy-revalidate", 60, 60, 60, True),
    (STRICT, "Cache-Control: max-age=60, stale-if-error=10, no-cache | " + TAG, 0, 0, 0, True),
    (STRICT, "Cache-Control: s-maxage=60, stale-while-revalidate=10", 60, 70, 60, True),
    (POLICY, FRESH, 60, 60, 60 + DAY_S, False),
    (POLICY, "Cache-Control: max-age=60, stale-if-error=0", 60, 60, 60, False),
    (POLICY, "Cache-Control: max-age=60, must-revalidate", 60, 60, 60, True),
    (POLICY, "Cache-Control: max-age=60, proxy-revalidate", 60, 60, 60, True),
    (POLICY, "Cache-Control: s-maxage=60", 60, 60, 60, True),
    (POLICY, "Cache-Control: s-maxage=60, stale-if-error=10", 60, 60, 70, True),
    (POLICY, "Cache-Control: no-cache | " + TAG, 0, 0, 0, True),
    (POLICY, TAG, 0, 0, DAY_S, False),
    (CachePolicy(stale_while_revalidate=5_000, stale_if_error=7_000), FRESH, 60, 65, 67, False),
    (
        CachePolicy(stale_while_revalidate=5_000, stale_if_error=7_000),
        "Cache-Control: max-age=60, stale-while-revalidate=1, stale-if-error=2",
        60,
        61,
        62,
        False,
    ),
    (CachePolicy(stale_while_revalidate=5_000), "Cache-Control: s-maxage=60", 60, 60, 60, True),
    (
        CachePolicy(stale_while_revalidate=5_000),
        "Cache-Control: max-age=60, must-revalidate",
        60,
        60,
        60,
        True,
    ),
    (
        CachePolicy(override_ttl=9_000, stale_if_error=0),
        "Cache-Control: no-cache, must-revalidate",
        9,
        9,
        9,
        False,
    ),
    (CachePolicy(override_ttl=9_000, stale_if_error=1_000), "Cache-Control: s-maxage=0", 9, 9, 10, False),
]


@pytest.mark.parametrize(("policy", "lines", "fresh", "swr", "sie", "never_stale"), WINDOWS)
def test_windows(policy, lines, fresh, swr, sie, never_stale):
    made = stored(*lines_of(lines), policy=policy)
    assert made.born == NOW
    assert [made.fresh_until - NOW, made.swr_until - NOW, made.sie_until - NOW] == [
        fresh * 1000,
        swr * 1000,
        sie * 1000,
    ]
    assert made.must_revalidate is never_stale


@pytest.mark.parametrize(
    ("status", "seconds"), [(500, 60), (502, 60), (503, 60), (504, 60), (501, 65), (404, 65)]
)
def test_an_error_is_not_kept_for_other_errors(status, seconds):
    made = stored("Cache-Control: max-age=60, stale-if-error=5", status=status)
    assert made.sie_until - NOW == seconds * 1000


ENDING = [
    # §4: (status, reason, does it end the use of an older response?)
    *[(200, why, True) for why in (No.NO_STORE, No.PRIVATE, No.SET_COOKIE, No.VARY_STAR, No.NO_FRESHNESS)],
    *[(status, No.NO_STORE, True) for status in (203, 204, 299, 300, 302, 399, 404, 410)],
    *[(status, No.NO_STORE, False) for status in (206, 304, 400, 401, 403, 405, 412, 416, 429, 500, 503)],
    (302, No.STATUS, True),
    (199, No.STATUS, False),
    *[(200, why, False) for why in (No.REQUEST_NO_STORE, No.AUTHORIZATION, No.BYPASS, No.METHOD)],
    *[(200, why, False) for why in (No.TOO_LARGE, No.NO_SPACE, No.TRUNCATED, No.PURGED, No.ROUTE_OFF)],
]


@pytest.mark.parametrize(("status", "why", "ends"), ENDING)
def test_what_ends_an_older_response(status, why, ends):
    assert ends_older(status, why) is ends


def test_age_on_arrival_shortens_what_is_left():
    made = stored(FRESH, "Age: 10", f"Date: {date(-15)}", delay=2_000)
    assert (made.born, made.fresh_until) == (NOW - 15_000, NOW + 45_000)
    made = stored(FRESH, "Age: 20", f"Date: {date(-15)}", delay=2_500)
    assert made.born == NOW - 22_500
    assert made.age(NOW) == 22
    assert made.request_time == NOW - 2_500


STORED_FIELDS = [
    # §3.1: (received, stored)
    ("A: 1 | B: 2", "A: 1 | B: 2"),
    ("B: 2 | A: 1 | B: 3", "B: 2 | A: 1 | B: 3"),
    ("A: 1 | a: 2", "A: 1 | a: 2"),
    ("Connection: close | A: 1", "A: 1"),
    ("Connection: A, b | A: 1 | B: 2 | C: 3", "C: 3"),
    ("Connection: a | Connection: B | A: 1 | B: 2 | C: 3", "C: 3"),
    ("Connection: Cache-Control, ETag, Set-Cookie, Vary | ETag: x", "ETag: x"),
    ("Keep-Alive: timeout=5 | A: 1", "A: 1"),
    ("Proxy-Connection: close | A: 1", "A: 1"),
    ("Proxy-Authenticate: x | A: 1", "A: 1"),
    ("Proxy-Authentication-Info: x | A: 1", "A: 1"),
    ("Proxy-Authorization: x | A: 1", "A: 1"),
    ("TE: trailers | Trailer: A | Transfer-Encoding: chunked | Upgrade: x | A: 1", "A: 1"),
    ("Content-Length: 5 | Age: 3 | A: 1", "A: 1"),
    ("Cache-Status: origin; hit | Via: 1.1 x | A: 1", "Cache-Status: origin; hit | Via: 1.1 x | A: 1"),
    (
        "Content-Encoding: gzip | Content-Type: a/b | Content-MD5: x",
        "Content-Encoding: gzip | Content-Type: a/b | Content-MD5: x",
    ),
    (
        "X-Unknown: \xe9 | Content-Foo: 1 | Set-Cookie2: x",
        "X-Unknown: \xe9 | Content-Foo: 1 | Set-Cookie2: x",
    ),
    ("Expires: 0 | Pragma: foo", "Expires: 0 | Pragma: foo"),
    ("CDN-Cache-Control: public, max-age=60", "CDN-Cache-Control: public, max-age=60"),
]


@pytest.mark.parametrize(("received", "kept"), STORED_FIELDS)
def test_stored_fields(received, kept):
    made = stored(f"Date: {date(0)}", "Cache-Control: public, max-age=60", *lines_of(received))
    lines = [f"{name}: {value}" for name, value in made.fields]
    assert lines == [f"Date: {date(0)}", "Cache-Control: public, max-age=60", *lines_of(kept)]


@pytest.mark.parametrize(
    ("control", "kept"),
    [
        ('no-cache="a"', ["B", "C"]),
        ('no-cache="a, B"', ["C"]),
        ('private="A"', ["B", "C"]),
        ('private="a", no-cache="c"', ["B"]),
        ('no-cache="x"', ["A", "B", "C"]),
    ],
)
def test_qualified_directives_keep_fields_out(control, kept):
    made = stored(f"Cache-Control: max-age=60, {control}", f"Date: {date(0)}", "A: 1", "B: 2", "C: 3", "a: 4")
    names = [name for name, _ in made.fields if name.lower() in ("a", "b", "c")]
    assert [name for name in names if name != "a"] == kept
    assert ("a" in names) is ("A" in kept)


def test_date_is_added_only_when_missing():
    assert stored(FRESH).fields.get("date") == date(0)
    assert stored(FRESH, f"Date: {date(-5)}").fields.get("date") == date(-5)
    assert stored(FRESH, "Date: nonsense").fields.get("date") == "nonsense"


def test_what_is_known_of_a_stored_response():
    made = stored(
        "Cache-Control: max-age=60, immutable, no-transform",
        'ETag: "a"',
        f"Last-Modified: {date(-100)}",
        "Vary: B, a",
        asked=request(),
        status=200,
    )
    assert isinstance(made, Store)
    assert (made.status, made.reason, made.etag, made.last_modified) == (200, "OK", '"a"', NOW_S - 100)
    assert (made.date, made.vary, made.body_length) == (NOW_S, ("a", "b"), -1)
    assert (made.immutable, made.no_transform, made.no_cache, made.must_revalidate) == (
        True,
        True,
        False,
        False,
    )
    assert (made.lifetime, made.lifetime_source) == (60_000, "max-age")
    assert made.has_validator


def test_two_entity_tags_are_none():
    assert stored(FRESH, 'ETag: "a"', 'ETag: "b"').etag is None


def test_an_authorized_response_is_marked():
    made = stored("Cache-Control: public, max-age=60", asked=request("Authorization: x"))
    assert made.flags & Flag.AUTHORIZED
    assert not stored("Cache-Control: public, max-age=60").flags & Flag.AUTHORIZED


def test_the_decision_does_not_depend_on_the_field_names_case():
    upper = decide_store(
        request("AUTHORIZATION: x"),
        response("CACHE-CONTROL: max-age=60"),
        POLICY,
        request_time=NOW,
        response_time=NOW,
    )
    assert upper == DontStore(No.AUTHORIZATION)


@pytest.mark.parametrize("method", ["HEAD", "PUT", "DELETE"])
def test_the_method_is_the_first_reason(method):
    assert reason(decided("Cache-Control: no-store", asked=request(method=method))) is No.METHOD


UNDERSTOOD = {
    *range(200, 206), 300, 301, 302, 303, 307, 308, *range(400, 407), 408, 409, 410, 411, 413, 414, 415,
    *range(421, 427), 428, 429, 431, 451, *range(500, 509), 510, 511,
}  # fmt: skip


@pytest.mark.parametrize("status", [status for status in range(200, 600) if status not in (206, 304, 407)])
def test_must_understand_knows_these_statuses(status):
    """RFC 9111 §5.2.2.3."""
    made = decided("Cache-Control: must-understand, no-store, max-age=60", status=status)
    assert reason(made) is (None if status in UNDERSTOOD else No.STATUS)


@pytest.mark.parametrize("status", range(200, 600))
def test_what_public_alone_makes_storable(status):
    """RFC 9111 §3: not errors, which one odd request can provoke."""
    made = decided("Cache-Control: public", 'ETag: "a"', status=status)
    if status == 206:
        assert reason(made) is No.PARTIAL
    else:
        errors = status in (304, 400, 405, 407, 413, 414, 431) or status >= 500
        assert reason(made) is (No.STATUS if errors else None)


@pytest.mark.parametrize("status", range(200, 600))
def test_what_is_storable_by_default(status):
    """RFC 9110 §15.1, less the errors."""
    made = decided('ETag: "a"', status=status)
    if status == 206:
        assert reason(made) is No.PARTIAL
    else:
        assert (reason(made) is None) is (status in (200, 203, 204, 300, 301, 308, 404, 410))


# Values that mean something somewhere, put into fields whose value must mean nothing here.
_VALUES = st.sampled_from(
    [
        "no-store",
        "private",
        "max-age=0",
        "s-maxage=9",
        "*",
        "accept",
        "close",
        "0",
        '"x"',
        date(-DAY_S),
        date(60),
    ]
) | st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=12)
# All names that we know, and some more: those that decide are left out when they are used, so that one which is missing
# from DECIDING is found.
_NAMES = sorted(
    {name.decode("ascii").lower() for name in FIELD_IDS}
    | {
        "cdn-cache-control",
        "x-cache-control",
        "x-accel-expires",
        "surrogate-control",
        "surrogate-key",
        "cache-tag",
    }
    | {"cache-groups", "content-location", "pragma", "expires", "warning", "x-other"}
)
_DECIDED = st.lists(
    st.sampled_from(
        [
            *(
                "Cache-Control: max-age=60",
                "Cache-Control: private",
                "Cache-Control: no-cache, s-maxage=5",
                TAG,
            ),
            *("Pragma: no-cache", "Vary: accept-language", "Vary: *", "Age: 7", f"Date: {date(-9)}"),
            *(
                f"Expires: {date(90)}",
                f"Last-Modified: {date(-DAY_S)}",
                "Cache-Tag: a",
                "Content-Location: /q",
            ),
        ]
    ),
    max_size=5,
)


@given(
    _DECIDED,
    st.lists(st.tuples(st.sampled_from(_NAMES), _VALUES, _VALUES), max_size=5),
    st.sampled_from([200, 203, 206, 301, 404, 500]),
    st.sampled_from(["", "Authorization: Basic eA=="]),
    st.sampled_from([POLICY, STRICT]),
)
def test_values_of_other_fields_decide_nothing(
    deciding: list[str],
    others: list[tuple[str, str, str]],
    status: int,
    asking: str,
    policy: CachePolicy,
) -> None:
    asked = request(*lines_of(asking))
    read = DECIDING | frozenset(policy.targets)
    others = [one for one in others if one[0] not in read]
    first, second = (
        decided(
            *deciding,
            *(f"{one[0]}: {one[which]}" for one in others),
            status=status,
            asked=asked,
            policy=policy,
        )
        for which in (1, 2)
    )
    if isinstance(first, DontStore) or isinstance(second, DontStore):
        assert first == second
        return
    assert replace(first, fields=second.fields) == second
    assert [name for name, _ in first.fields] == [name for name, _ in second.fields]


# What decides for one name or another, for names that are to decide nothing.
_MEANT = [
    "no-store",
    "private",
    "public",
    "max-age=0",
    "max-age=9",
    "no-cache",
    "*",
    "accept",
    "7",
    '"x"',
    date(-9),
    date(99),
]


@pytest.mark.parametrize("name", _NAMES)
def test_each_other_field_counts_by_its_name_alone(name: str) -> None:
    if name in DECIDING | frozenset(POLICY.targets):
        return
    for beside in (
        [],
        [FRESH],
        [TAG],
        [f"Expires: {date(60)}"],
        [f"Last-Modified: {date(-DAY_S)}"],
        ["Pragma: no-cache"],
    ):
        made = [decided(*beside, f"{name}: {value}") for value in _MEANT]
        for one in made:
            if isinstance(one, DontStore) or isinstance(made[0], DontStore):
                assert one == made[0]
            else:
                assert replace(one, fields=made[0].fields) == made[0]
