"""May a stored response answer a request (RFC 9111 §4)?"""

from __future__ import annotations

import pytest

from cdn.config.values import CachePolicy
from cdn.rules.use import Decision, decide_use, is_error, is_unsafe, method_is_cacheable
from tests.rules.make import DAY_S, NOW, POLICY, STRICT, lines_of, request, stored

SERVE, SWR, SIE = Decision.SERVE, Decision.SERVE_STALE_SWR, Decision.SERVE_STALE_SIE
VALIDATE, FETCH, GONE = Decision.VALIDATE, Decision.FETCH, Decision.GATEWAY_TIMEOUT

TAG = ' | ETag: "a"'
FRESH = "Cache-Control: max-age=60" + TAG
ALL = CachePolicy(stale_if_error=0, request_directives="all")
NONE = CachePolicy(stale_if_error=0, request_directives="none")

# (policy, response lines, request lines, ms after receipt, decision)
USES = [
    # §4.2: fresh while lifetime > age
    (STRICT, FRESH, "", 0, SERVE),
    (STRICT, FRESH, "", 59_999, SERVE),
    (STRICT, FRESH, "", 60_000, VALIDATE),
    (STRICT, FRESH, "", 10**12, VALIDATE),
    (STRICT, FRESH + " | Age: 30", "", 29_999, SERVE),
    (STRICT, FRESH + " | Age: 30", "", 30_000, VALIDATE),
    (STRICT, FRESH + " | Date: {-30}", "", 30_000, VALIDATE),
    (STRICT, FRESH + " | Age: 7200", "", 0, VALIDATE),
    (STRICT, "Cache-Control: max-age=0" + TAG, "", 0, VALIDATE),
    (STRICT, 'ETag: "a"', "", 0, VALIDATE),
    (STRICT, "Expires: {+10}", "", 9_999, SERVE),
    (STRICT, "Expires: {+10} | ETag: x", "", 10_000, VALIDATE),
    (STRICT, "Cache-Control: max-age=99999999999", "", 2147483647_000, SERVE),
    (STRICT, "Last-Modified: {-1000}", "", 99_999, SERVE),
    (STRICT, "Last-Modified: {-1000}", "", 100_000, VALIDATE),
    # §5.2.2.4
    (STRICT, "Cache-Control: no-cache, max-age=60" + TAG, "", 0, VALIDATE),
    (STRICT, 'Cache-Control: no-cache="x", max-age=60', "", 0, SERVE),
    (ALL, "Cache-Control: no-cache, max-age=60" + TAG, "Cache-Control: max-stale", 0, VALIDATE),
    # §5.2.1.4 no-cache, §5.4 Pragma
    (STRICT, FRESH, "Cache-Control: no-cache", 0, VALIDATE),
    (STRICT, FRESH, "Cache-Control: NO-CACHE", 0, VALIDATE),
    (STRICT, FRESH, "Pragma: no-cache", 0, VALIDATE),
    (STRICT, FRESH, "Pragma: no-cache | Cache-Control: foo", 0, SERVE),
    (STRICT, FRESH, "Pragma: foo", 0, SERVE),
    (NONE, FRESH, "Cache-Control: no-cache", 0, SERVE),
    (NONE, FRESH, "Pragma: no-cache", 0, SERVE),
    # §5.2.1.1 max-age
    (STRICT, FRESH, "Cache-Control: max-age=0", 0, VALIDATE),
    (STRICT, FRESH, "Cache-Control: max-age=0", 1, VALIDATE),
    (STRICT, FRESH, "Cache-Control: max-age=10", 10_000, SERVE),
    (STRICT, FRESH, "Cache-Control: max-age=10", 10_001, VALIDATE),
    (STRICT, FRESH, "Cache-Control: max-age=100", 60_000, VALIDATE),
    (STRICT, FRESH + " | Age: 30", "Cache-Control: max-age=20", 0, VALIDATE),
    (STRICT, FRESH + " | Age: 30", "Cache-Control: max-age=40", 0, SERVE),
    (STRICT, FRESH, "Cache-Control: max-age=bad", 0, VALIDATE),
    (NONE, FRESH, "Cache-Control: max-age=0", 1, SERVE),
    # RFC 8246: a reload does not ask for what cannot change
    (STRICT, "Cache-Control: max-age=60, immutable" + TAG, "Cache-Control: max-age=0", 1, SERVE),
    (STRICT, "Cache-Control: max-age=60, immutable" + TAG, "Cache-Control: no-cache", 1, VALIDATE),
    (STRICT, "Cache-Control: max-age=60, immutable" + TAG, "Cache-Control: max-age=0", 60_000, VALIDATE),
    (STRICT, "Cache-Control: max-age=60, immutable" + TAG, "", 60_000, VALIDATE),
    # §5.2.1.3 min-fresh
    (STRICT, FRESH, "Cache-Control: min-fresh=10", 50_000, SERVE),
    (STRICT, FRESH, "Cache-Control: min-fresh=10", 50_001, VALIDATE),
    (STRICT, FRESH, "Cache-Control: min-fresh=60", 0, SERVE),
    (STRICT, FRESH, "Cache-Control: min-fresh=61", 0, VALIDATE),
    (STRICT, FRESH, "Cache-Control: min-fresh=99999999999", 0, VALIDATE),
    (STRICT, FRESH, "Cache-Control: min-fresh=bad", 0, SERVE),
    (NONE, FRESH, "Cache-Control: min-fresh=61", 0, SERVE),
    # §5.2.1.2 max-stale: only where the route lets clients
    (ALL, FRESH, "Cache-Control: max-stale", 10**12, SERVE),
    (ALL, FRESH, "Cache-Control: max-stale=10", 70_000, SERVE),
    (ALL, FRESH, "Cache-Control: max-stale=10", 70_001, VALIDATE),
    (ALL, FRESH, "Cache-Control: max-stale=bad", 60_001, VALIDATE),
    (ALL, FRESH, "Cache-Control: max-stale, max-age=10", 70_000, VALIDATE),
    (ALL, FRESH, "Cache-Control: max-stale=10, max-age=100", 70_000, SERVE),
    (ALL, FRESH, "Cache-Control: max-stale, no-cache", 60_000, VALIDATE),
    (STRICT, FRESH, "Cache-Control: max-stale", 60_000, VALIDATE),
    (NONE, FRESH, "Cache-Control: max-stale", 60_000, VALIDATE),
    (ALL, "Cache-Control: max-age=60, must-revalidate" + TAG, "Cache-Control: max-stale", 60_000, VALIDATE),
    (ALL, "Cache-Control: max-age=60, proxy-revalidate" + TAG, "Cache-Control: max-stale", 60_000, VALIDATE),
    (ALL, "Cache-Control: s-maxage=60" + TAG, "Cache-Control: max-stale", 60_000, VALIDATE),
    (ALL, "Cache-Control: max-age=60, must-revalidate" + TAG, "Cache-Control: max-stale", 59_999, SERVE),
    # §5.2.1.7 only-if-cached
    (STRICT, FRESH, "Cache-Control: only-if-cached", 0, SERVE),
    (STRICT, FRESH, "Cache-Control: only-if-cached", 60_000, GONE),
    (STRICT, FRESH, "Cache-Control: only-if-cached, no-cache", 0, GONE),
    (STRICT, FRESH, "Cache-Control: only-if-cached, max-age=0", 0, GONE),
    (ALL, FRESH, "Cache-Control: only-if-cached, max-stale", 60_000, SERVE),
    (NONE, FRESH, "Cache-Control: only-if-cached", 60_000, VALIDATE),
    # §5.2.1.5: a stored response may be used, but nothing new may be kept
    (STRICT, FRESH, "Cache-Control: no-store", 0, SERVE),
    (STRICT, FRESH, "Cache-Control: no-store", 60_000, FETCH),
    (STRICT, FRESH + " | Cache-Control: stale-while-revalidate=9", "Cache-Control: no-store", 60_000, FETCH),
    # §5.2.2.2, §5.2.2.8
    (STRICT, "Cache-Control: max-age=60, must-revalidate" + TAG, "", 59_999, SERVE),
    (STRICT, "Cache-Control: max-age=60, must-revalidate" + TAG, "", 60_000, VALIDATE),
    # RFC 5861 §3
    (STRICT, "Cache-Control: max-age=60, stale-while-revalidate=10", "", 60_000, SWR),
    (STRICT, "Cache-Control: max-age=60, stale-while-revalidate=10", "", 69_999, SWR),
    (STRICT, "Cache-Control: max-age=60, stale-while-revalidate=10", "", 70_000, VALIDATE),
    (
        STRICT,
        "Cache-Control: max-age=60, stale-while-revalidate=10",
        "Cache-Control: no-cache",
        60_000,
        VALIDATE,
    ),
    (
        STRICT,
        "Cache-Control: max-age=60, stale-while-revalidate=10",
        "Cache-Control: max-age=0",
        60_000,
        VALIDATE,
    ),
    (
        STRICT,
        "Cache-Control: max-age=60, stale-while-revalidate=10",
        "Cache-Control: min-fresh=0",
        60_000,
        SWR,
    ),
    (
        STRICT,
        "Cache-Control: max-age=60, stale-while-revalidate=10",
        "Cache-Control: min-fresh=1",
        60_000,
        VALIDATE,
    ),
    (
        STRICT,
        "Cache-Control: max-age=60, stale-while-revalidate=10",
        "Cache-Control: only-if-cached",
        60_000,
        SWR,
    ),
    (
        STRICT,
        "Cache-Control: max-age=60, stale-while-revalidate=10, must-revalidate" + TAG,
        "",
        60_000,
        VALIDATE,
    ),
    (STRICT, "Cache-Control: s-maxage=60, stale-while-revalidate=10", "", 60_000, SWR),
    (STRICT, "Cache-Control: max-age=0, stale-while-revalidate=10", "", 0, SWR),
    (CachePolicy(stale_while_revalidate=5_000), FRESH, "", 64_999, SWR),
    (CachePolicy(stale_while_revalidate=5_000), FRESH, "", 65_000, VALIDATE),
    (CachePolicy(stale_while_revalidate=5_000), "Cache-Control: s-maxage=60" + TAG, "", 60_000, VALIDATE),
    # stale-if-error says nothing while the origin answers
    (POLICY, "Cache-Control: max-age=60, stale-if-error=10", "", 60_000, VALIDATE),
]


@pytest.mark.parametrize(("policy", "lines", "asks", "after", "decision"), USES)
def test_use(policy, lines, asks, after, decision):
    record = stored(*lines_of(lines), policy=policy)
    assert decide_use(request(*lines_of(asks)), record, policy, NOW + after).decision is decision


# The origin could not be reached, or answered with an error: §4.2.4, §4.3.3, RFC 5861 §4
FAILURES = [
    (POLICY, FRESH, "", 0, SERVE),
    (POLICY, FRESH, "Cache-Control: no-cache", 0, SERVE),
    (POLICY, FRESH, "", 60_000, SIE),
    (POLICY, FRESH, "", 60_000 + DAY_S * 1000 - 1, SIE),
    (POLICY, FRESH, "", 60_000 + DAY_S * 1000, GONE),
    (POLICY, FRESH, "Cache-Control: no-cache", 60_000, SIE),
    (POLICY, 'ETag: "a"', "", 0, SIE),
    (STRICT, FRESH, "", 60_000, GONE),
    (STRICT, "Cache-Control: max-age=60, stale-if-error=10", "", 69_999, SIE),
    (STRICT, "Cache-Control: max-age=60, stale-if-error=10", "", 70_000, GONE),
    (POLICY, "Cache-Control: max-age=60, stale-if-error=10", "", 70_000, GONE),
    (POLICY, "Cache-Control: max-age=60, stale-if-error=0", "", 60_000, GONE),
    (POLICY, "Cache-Control: max-age=60, must-revalidate" + TAG, "", 59_999, SERVE),
    (POLICY, "Cache-Control: max-age=60, must-revalidate" + TAG, "", 60_000, GONE),
    (POLICY, "Cache-Control: max-age=60, must-revalidate, stale-if-error=10", "", 60_000, GONE),
    (POLICY, "Cache-Control: max-age=60, proxy-revalidate" + TAG, "", 60_000, GONE),
    (POLICY, "Cache-Control: s-maxage=60" + TAG, "", 60_000, GONE),
    (POLICY, "Cache-Control: s-maxage=60, stale-if-error=10", "", 60_000, SIE),
    (POLICY, "Cache-Control: no-cache" + TAG, "", 0, GONE),
    (POLICY, "Cache-Control: no-cache, stale-if-error=10" + TAG, "", 0, GONE),
    (STRICT, FRESH, "Cache-Control: stale-if-error=10", 60_000, GONE),
    (ALL, FRESH, "Cache-Control: stale-if-error=10", 70_000, SIE),
    (ALL, FRESH, "Cache-Control: stale-if-error=10", 70_001, GONE),
    (
        ALL,
        "Cache-Control: max-age=60, must-revalidate" + TAG,
        "Cache-Control: stale-if-error=10",
        60_000,
        GONE,
    ),
]


@pytest.mark.parametrize(
    ("status", "after", "decision"),
    [
        (500, 0, GONE),
        (502, 60_000, GONE),
        (503, 60_000, GONE),
        (504, 59_999, GONE),
        (501, 60_000, SIE),
        (404, 60_000, SIE),
    ],
)
def test_a_stored_error_is_no_better_than_a_new_one(status, after, decision):
    record = stored(*lines_of(FRESH), status=status)
    use = decide_use(request(), record, POLICY, NOW + after, origin_failed=True)
    assert use.decision is decision
    assert use.reason == "stored-error" or decision is SIE


@pytest.mark.parametrize(("policy", "lines", "asks", "after", "decision"), FAILURES)
def test_use_after_a_failure(policy, lines, asks, after, decision):
    record = stored(*lines_of(lines), policy=policy)
    use = decide_use(request(*lines_of(asks)), record, policy, NOW + after, origin_failed=True)
    assert use.decision is decision


@pytest.mark.parametrize(
    ("asks", "failed", "decision", "why"),
    [
        ("", False, FETCH, "not-stored"),
        ("Cache-Control: no-cache", False, FETCH, "not-stored"),
        ("Cache-Control: only-if-cached", False, GONE, "only-if-cached"),
        ("", True, GONE, "origin-failed"),
    ],
)
def test_nothing_stored(asks, failed, decision, why):
    use = decide_use(request(*lines_of(asks)), None, POLICY, NOW, failed)
    assert (use.decision, use.reason) == (decision, why)


@pytest.mark.parametrize(
    ("lines", "asks", "after", "why"),
    [
        (FRESH, "", 0, "fresh"),
        (FRESH, "", 60_000, "stale"),
        (FRESH, "Cache-Control: no-cache", 0, "request-no-cache"),
        (FRESH, "Cache-Control: max-age=0", 0, "request-max-age"),
        (FRESH, "Cache-Control: min-fresh=99", 0, "request-min-fresh"),
        (FRESH, "Cache-Control: max-stale", 60_000, "request-max-stale"),
        (FRESH, "Cache-Control: no-store", 60_000, "request-no-store"),
        ("Cache-Control: no-cache" + TAG, "", 0, "no-cache"),
        ("Cache-Control: max-age=60, stale-while-revalidate=9", "", 60_000, "stale-while-revalidate"),
    ],
)
def test_reasons(lines, asks, after, why):
    assert decide_use(request(*lines_of(asks)), stored(*lines_of(lines)), ALL, NOW + after).reason == why


@pytest.mark.parametrize(
    "method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "FOO", "get", "Head", "query"]
)
def test_other_methods_are_not_answered_from_the_store(method):
    assert decide_use(request(method=method), stored(*lines_of(FRESH)), POLICY, NOW).decision is FETCH
    assert not method_is_cacheable(method)


def test_head_is_answered_from_a_stored_get():
    assert decide_use(request(method="HEAD"), stored(*lines_of(FRESH)), POLICY, NOW).decision is SERVE
    assert decide_use(request(method="QUERY"), stored(*lines_of(FRESH)), POLICY, NOW).decision is SERVE


@pytest.mark.parametrize(
    ("method", "unsafe"),
    [
        *[
            (method, False)
            for method in ("GET", "HEAD", "OPTIONS", "TRACE", "QUERY", "PROPFIND", "REPORT", "SEARCH")
        ],
        *[(method, True) for method in ("POST", "PUT", "DELETE", "PATCH", "FOO", "get", "PURGE", "")],
    ],
)
def test_unsafe(method, unsafe):
    assert is_unsafe(method) is unsafe


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_errors_that_stale_is_better_than(status):
    assert is_error(status)


@pytest.mark.parametrize("status", [200, 304, 404, 410, 451, 501, 505, 511, 599])
def test_other_statuses_are_answers(status):
    assert not is_error(status)


@pytest.mark.parametrize(
    ("policy", "lines", "asks", "why"),
    [
        (POLICY, FRESH, "", "stale-if-error"),
        (ALL, FRESH, "Cache-Control: stale-if-error=10", "request-stale-if-error"),
        (STRICT, FRESH, "", "too-stale"),
        (POLICY, "Cache-Control: s-maxage=60" + TAG, "", "stale-forbidden"),
    ],
)
def test_reasons_after_a_failure(policy, lines, asks, why):
    record = stored(*lines_of(lines), policy=policy)
    assert (
        decide_use(request(*lines_of(asks)), record, policy, NOW + 65_000, origin_failed=True).reason == why
    )
