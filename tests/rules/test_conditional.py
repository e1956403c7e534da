"""Conditional requests (RFC 9110 §13) and the validators they compare."""

from __future__ import annotations

import pytest

from cdn.rules.conditional import Verdict, evaluate, if_range_passes
from tests.rules.make import lines_of, request, stored

GO, SAME, FAILED = Verdict.PROCEED, Verdict.NOT_MODIFIED, Verdict.PRECONDITION_FAILED
STRONG = 'ETag: "a" | Last-Modified: {-100} | Date: {0}'
WEAK = 'ETag: W/"a" | Last-Modified: {-100} | Date: {0}'
NO_TAG = "Last-Modified: {-100} | Date: {0}"
NO_DATE = 'ETag: "a" | Date: {0}'
NOTHING = "Cache-Control: max-age=60 | Date: {0}"

CASES = [
    (STRONG, "", GO),
    # §13.1.2
    (STRONG, 'If-None-Match: "a"', SAME),
    (STRONG, 'If-None-Match: W/"a"', SAME),
    (WEAK, 'If-None-Match: "a"', SAME),
    (WEAK, 'If-None-Match: W/"a"', SAME),
    (STRONG, 'If-None-Match: "b"', GO),
    (STRONG, 'If-None-Match: "A"', GO),
    (STRONG, 'If-None-Match: w/"a"', GO),
    (STRONG, 'If-None-Match: "b", "a"', SAME),
    (STRONG, 'If-None-Match: "b","a"', SAME),
    (STRONG, 'If-None-Match: "b" , W/"a"', SAME),
    (STRONG, 'If-None-Match: "b" | If-None-Match: "a"', SAME),
    (STRONG, 'If-None-Match: , "a",', SAME),
    (STRONG, 'If-None-Match: "b", "c"', GO),
    (STRONG, "If-None-Match: *", SAME),
    (NO_TAG, "If-None-Match: *", SAME),
    (NOTHING, "If-None-Match: *", SAME),
    (STRONG, "If-None-Match: a", GO),
    (STRONG, 'If-None-Match: "a', GO),
    (STRONG, "If-None-Match: 'a'", GO),
    (STRONG, "If-None-Match:", GO),
    (STRONG, 'If-None-Match: "x,"a""', GO),
    ('ETag: "a,b" | Date: {0}', 'If-None-Match: "a,b"', SAME),
    ('ETag: "a,b" | Date: {0}', 'If-None-Match: "a", "b"', GO),
    ('ETag: "\xe9" | Date: {0}', 'If-None-Match: "\xe9"', SAME),
    ('ETag: "" | Date: {0}', 'If-None-Match: ""', SAME),
    (NO_TAG, 'If-None-Match: "a"', GO),
    # not an entity-tag, but what the client was given comes back byte for byte
    ("ETag: a | Date: {0}", "If-None-Match: a", SAME),
    ("ETag: a | Date: {0}", "If-None-Match: b, a", SAME),
    ("ETag: a | Date: {0}", 'If-None-Match: "a"', GO),
    ("ETag: a b | Date: {0}", "If-None-Match: a b", GO),
    ('ETag: "a" | Date: {0}', "If-None-Match: a", GO),
    ("ETag: a | Date: {0}", "If-Match: a", FAILED),
    # §13.1.3
    (STRONG, "If-Modified-Since: {-100}", SAME),
    (STRONG, "If-Modified-Since: {-99}", SAME),
    (STRONG, "If-Modified-Since: {0}", SAME),
    (STRONG, "If-Modified-Since: {+100}", SAME),
    (STRONG, "If-Modified-Since: {-101}", GO),
    (NO_TAG, "If-Modified-Since: {-100}", SAME),
    (NO_TAG, "If-Modified-Since: nonsense", GO),
    (NO_TAG, "If-Modified-Since: {-100} | If-Modified-Since: {-100}", GO),
    (NO_TAG, "If-Modified-Since:", GO),
    # RFC 9111 §4.3.2: Date takes the place of a missing Last-Modified
    (NO_DATE, "If-Modified-Since: {0}", SAME),
    (NO_DATE, "If-Modified-Since: {-1}", GO),
    (NOTHING, "If-Modified-Since: {+5}", SAME),
    (NOTHING, "If-Modified-Since: {-5}", GO),
    ("Cache-Control: max-age=60", "If-Modified-Since: {0}", SAME),
    # §13.2.2: If-None-Match silences If-Modified-Since
    (STRONG, 'If-None-Match: "b" | If-Modified-Since: {0}', GO),
    (STRONG, 'If-None-Match: "a" | If-Modified-Since: {-999}', SAME),
    (NO_TAG, 'If-None-Match: "b" | If-Modified-Since: {0}', GO),
    # §13.1.1, §13.1.4
    (STRONG, 'If-Match: "a"', GO),
    (STRONG, 'If-Match: "b"', FAILED),
    (STRONG, 'If-Match: "b", "a"', GO),
    (STRONG, "If-Match: *", GO),
    (STRONG, 'If-Match: W/"a"', FAILED),
    (WEAK, 'If-Match: W/"a"', FAILED),
    (WEAK, 'If-Match: "a"', FAILED),
    (NO_TAG, 'If-Match: "a"', FAILED),
    (NO_TAG, "If-Match: *", GO),
    (STRONG, "If-Unmodified-Since: {-100}", GO),
    (STRONG, "If-Unmodified-Since: {-101}", FAILED),
    (STRONG, "If-Unmodified-Since: nonsense", GO),
    (NOTHING, "If-Unmodified-Since: {-101}", GO),
    (STRONG, 'If-Match: "a" | If-Unmodified-Since: {-999}', GO),
    (STRONG, 'If-Match: "b" | If-None-Match: "a"', FAILED),
    (STRONG, 'If-Match: "a" | If-None-Match: "a"', SAME),
    (STRONG, 'If-Unmodified-Since: {-101} | If-None-Match: "a"', FAILED),
    (STRONG, 'If-Unmodified-Since: {0} | If-None-Match: "b"', GO),
]


@pytest.mark.parametrize(("lines", "asks", "verdict"), CASES)
def test_evaluate(lines, asks, verdict):
    record = stored("Cache-Control: max-age=60", *lines_of(lines))
    assert evaluate(request(*lines_of(asks)), record) is verdict


@pytest.mark.parametrize(
    ("method", "asks", "verdict"),
    [
        ("HEAD", 'If-None-Match: "a"', SAME),
        ("HEAD", "If-Modified-Since: {0}", SAME),
        ("QUERY", 'If-None-Match: "a"', SAME),
        ("QUERY", "If-Modified-Since: {0}", SAME),
        ("POST", 'If-None-Match: "a"', FAILED),
        ("POST", "If-Modified-Since: {0}", GO),
        ("PUT", "If-None-Match: *", FAILED),
    ],
)
def test_methods(method, asks, verdict):
    record = stored("Cache-Control: max-age=60", *lines_of(STRONG))
    assert evaluate(request(*lines_of(asks), method=method), record) is verdict


@pytest.mark.parametrize(
    ("status", "verdict"), [(200, SAME), (203, SAME), (301, GO), (404, GO), (503, GO), (299, SAME)]
)
def test_conditions_are_about_successes(status, verdict):
    record = stored("Cache-Control: max-age=60", 'ETag: "a"', status=status)
    assert evaluate(request('If-None-Match: "a"'), record) is verdict


IF_RANGES = [
    # §13.1.5
    (STRONG, "", True),
    (STRONG, 'If-Range: "a"', True),
    (STRONG, 'If-Range: "b"', False),
    (STRONG, 'If-Range: W/"a"', False),
    (WEAK, 'If-Range: W/"a"', False),
    (WEAK, 'If-Range: "a"', False),
    (STRONG, 'If-Range: "a", "b"', False),
    (STRONG, "If-Range: *", False),
    (STRONG, "If-Range:", False),
    (STRONG, "If-Range: a", False),
    (STRONG, 'If-Range: "a" | If-Range: "a"', False),
    (STRONG, "If-Range: {-100}", True),
    (STRONG, "If-Range: {-99}", False),
    (STRONG, "If-Range: {-101}", False),
    (NO_TAG, "If-Range: {-100}", True),
    (NO_DATE, "If-Range: {0}", False),
    (NO_DATE, "If-Range: {-100}", False),
    ("Last-Modified: {0} | Date: {0}", "If-Range: {0}", False),
    ("Last-Modified: {-1} | Date: {0}", "If-Range: {-1}", True),
    (STRONG, "If-Range: nonsense", False),
    # two digits of a year are those of the nearest one
    ("Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT", "If-Range: Sunday, 06-Nov-94 08:49:37 GMT", True),
    ("Last-Modified: Sunday, 06-Nov-94 08:49:37 GMT", "If-Range: Sun, 06 Nov 1994 08:49:37 GMT", True),
]


@pytest.mark.parametrize(("lines", "asks", "passes"), IF_RANGES)
def test_if_range(lines, asks, passes):
    record = stored("Cache-Control: max-age=60", *lines_of(lines))
    assert if_range_passes(request(*lines_of(asks)), record) is passes


@pytest.mark.parametrize(("status", "verdict"), [(200, SAME), (299, SAME), (300, GO), (404, GO), (500, GO)])
def test_only_successes_are_judged(status, verdict):
    """RFC 9110 §13.2.1."""
    record = stored("Cache-Control: max-age=60", *lines_of(STRONG), status=status)
    assert evaluate(request('If-None-Match: "a"'), record) is verdict
