"""Age and freshness lifetime (RFC 9111 §4.2, §5.1, §5.3)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cdn.config.values import CachePolicy
from cdn.rules.dates import format_date, parse_date
from cdn.rules.freshness import age_value, corrected_initial_age, freshness_lifetime
from cdn.rules.norms import DELTA_MAX
from tests.rules.make import DAY_S, NOW, NOW_S, POLICY, date, fields, lines_of, response

AGES = [
    # §5.1: the first member counts, a value that is no non-negative integer does not
    ("", 0),
    ("Age: 0", 0),
    ("Age: 60", 60),
    ("Age: 0060", 60),
    ("Age: 2147483648", DELTA_MAX),
    ("Age: 99999999999999999999", DELTA_MAX),
    ("Age: 60, 90", 60),
    ("Age: 90,60", 90),
    ("Age: 60 | Age: 90", 60),
    ("Age: 0 | Age: 90", 0),
    ("Age: , 60", 60),
    ("Age:", 0),
    ("Age: -60", 0),
    ("Age: +60", 0),
    ("Age: 60.5", 0),
    ("Age: 60a", 0),
    ("Age: a60", 0),
    ("Age: abc", 0),
    ('Age: "60"', 0),
    ("Age: 60;x=y", 0),
    ("Age: 6 0", 0),
    ("Age: abc, 60", 0),
    ("Age: 0x60", 0),
]


@pytest.mark.parametrize(("lines", "seconds"), AGES)
def test_age_value(lines, seconds):
    assert age_value(fields(*lines_of(lines))) == seconds


INITIAL_AGES = [
    # §4.2.3: (lines, ms the response took, corrected initial age in ms)
    ("Date: {0}", 0, 0),
    ("Date: {-10}", 0, 10_000),
    ("Date: {10}", 0, 0),
    ("Date: {-10}", 4_000, 10_000),
    ("Date: {0}", 4_000, 4_000),
    ("Date: {0} | Age: 30", 0, 30_000),
    ("Date: {0} | Age: 30", 4_500, 34_500),
    ("Date: {-60} | Age: 30", 0, 60_000),
    ("Date: {-60} | Age: 90", 1_000, 91_000),
    ("Date: {-60} | Age: abc", 0, 60_000),
    ("Date: {-60} | Age: -90", 0, 60_000),
    ("Date: nonsense", 2_000, 2_000),
    ("Date: nonsense | Age: 9", 0, 9_000),
    ("", 2_000, 2_000),
    ("", 0, 0),
    ("Age: 7", 0, 7_000),
    ("Date: {0} | Date: {-60}", 0, 0),
]


@pytest.mark.parametrize(("lines", "delay", "age"), INITIAL_AGES)
def test_corrected_initial_age(lines, delay, age):
    assert corrected_initial_age(response(*lines_of(lines)), NOW - delay, NOW) == age


def test_a_date_of_this_very_second_is_no_age():
    made = response(f"Date: {date(0)}")
    assert corrected_initial_age(made, NOW + 900, NOW + 999) == 99


def test_a_clock_that_went_back_makes_no_negative_age():
    assert corrected_initial_age(response(f"Date: {date(0)}"), NOW + 5_000, NOW) == 0


LIFETIMES = [
    # §4.2.1: s-maxage > max-age > Expires
    ("Cache-Control: max-age=60", 60, "max-age"),
    ("Cache-Control: s-maxage=60", 60, "s-maxage"),
    ("Cache-Control: s-maxage=60, max-age=90", 60, "s-maxage"),
    ("Cache-Control: max-age=90, s-maxage=60", 60, "s-maxage"),
    ("Cache-Control: s-maxage=0, max-age=90", 0, "s-maxage"),
    ("Cache-Control: s-maxage=bad, max-age=90", 0, "s-maxage"),
    ("Cache-Control: max-age=60 | Expires: {+90} | Date: {0}", 60, "max-age"),
    ("Cache-Control: max-age=60 | Expires: {-90} | Date: {0}", 60, "max-age"),
    ("Cache-Control: max-age=0 | Expires: {+90} | Date: {0}", 0, "max-age"),
    ("Cache-Control: max-age=bad | Expires: {+90} | Date: {0}", 0, "max-age"),
    ("Cache-Control: s-maxage=60 | Expires: {+90} | Date: {0}", 60, "s-maxage"),
    ("Cache-Control: max-age=2147483648", DELTA_MAX, "max-age"),
    ("Cache-Control: max-age=99999999999", DELTA_MAX, "max-age"),
    ("Cache-Control: public | Expires: {+90} | Date: {0}", 90, "Expires"),
    # §5.3
    ("Expires: {+90} | Date: {0}", 90, "Expires"),
    ("Expires: {+90} | Date: {-30}", 120, "Expires"),
    ("Expires: {+90} | Date: {+30}", 60, "Expires"),
    ("Expires: {+90}", 90, "Expires"),
    ("Expires: {+90} | Date: nonsense", 90, "Expires"),
    # two digits of a year are those of the nearest one
    ("Expires: Friday, 15-Jan-27 08:01:30 GMT | Date: {0}", 90, "Expires"),
    ("Expires: Friday, 15-Jan-94 08:01:30 GMT | Date: {0}", 0, "Expires"),
    ("Expires: {0} | Date: {0}", 0, "Expires"),
    ("Expires: {-90} | Date: {0}", 0, "Expires"),
    ("Expires: {-90} | Date: {-180}", 90, "Expires"),
    ("Expires: 0", 0, "Expires"),
    ("Expires: -1", 0, "Expires"),
    ("Expires: 9", 0, "Expires"),
    ("Expires:", 0, "Expires"),
    ("Expires: never", 0, "Expires"),
    ("Expires: {+90} | Expires: {+30} | Date: {0}", 90, "Expires"),
    ("Expires: 0 | Expires: {+30} | Date: {0}", 0, "Expires"),
    # §4.2.2: a tenth, at most a day, only where nothing explicit is said
    ("Last-Modified: {-1000} | Date: {0}", 100, "heuristic"),
    ("Last-Modified: {-1009} | Date: {0}", 100, "heuristic"),
    ("Last-Modified: {-5} | Date: {0}", 0, "heuristic"),
    ("Last-Modified: {-1} | Date: {0}", 0, "heuristic"),
    ("Last-Modified: {-864000} | Date: {0}", DAY_S, "heuristic"),
    ("Last-Modified: {-99864000} | Date: {0}", DAY_S, "heuristic"),
    ("Last-Modified: {-1000} | Date: {-500}", 50, "heuristic"),
    ("Last-Modified: {-1000}", 100, "heuristic"),
    ("Last-Modified: {0} | Date: {0}", 0, "none"),
    ("Last-Modified: {+10} | Date: {0}", 0, "none"),
    ("Last-Modified: nonsense | Date: {0}", 0, "none"),
    ("Last-Modified: {-1000} | Expires: {+5} | Date: {0}", 5, "Expires"),
    ("Last-Modified: {-1000} | Expires: 0", 0, "Expires"),
    ("Last-Modified: {-1000} | Cache-Control: max-age=0", 0, "max-age"),
    ("Last-Modified: {-1000} | Cache-Control: foo", 100, "heuristic"),
    # §5.4: an HTTP/1.0 origin's no-cache
    ("Last-Modified: {-1000} | Pragma: no-cache", 0, "none"),
    ("Last-Modified: {-1000} | Pragma: No-Cache", 0, "none"),
    ("Last-Modified: {-1000} | Pragma: foo", 100, "heuristic"),
    ("Last-Modified: {-1000} | Pragma: no-cache | Cache-Control: public", 100, "heuristic"),
    ("Expires: {+90} | Pragma: no-cache", 90, "Expires"),
    ("Cache-Control: max-age=60 | Pragma: no-cache", 60, "max-age"),
    ("", 0, "none"),
    ('ETag: "a"', 0, "none"),
    # RFC 9213 §2.2: Cache-Control and Expires do not count beside a targeted field
    ("CDN-Cache-Control: max-age=60 | Cache-Control: max-age=90", 60, "max-age"),
    ("CDN-Cache-Control: max-age=60 | Expires: {+90}", 60, "max-age"),
    ("CDN-Cache-Control: s-maxage=60, max-age=30", 60, "s-maxage"),
    ("CDN-Cache-Control: none | Expires: {+90}", 0, "none"),
    ("CDN-Cache-Control: none | Cache-Control: max-age=90", 0, "none"),
    ("CDN-Cache-Control: none | Last-Modified: {-1000} | Cache-Control: max-age=9", 100, "heuristic"),
    ("CDN-Cache-Control: max-age=60& | Cache-Control: max-age=90", 90, "max-age"),
    ("CDN-Cache-Control: | Expires: {+90}", 90, "Expires"),
    ('CDN-Cache-Control: max-age="60" | Cache-Control: max-age=90', 0, "max-age"),
]


@pytest.mark.parametrize(("lines", "seconds", "source"), LIFETIMES)
def test_lifetime(lines, seconds, source):
    made = freshness_lifetime(response(*lines_of(lines)), POLICY, NOW)
    assert (made.ms, made.source.value) == (seconds * 1000, source)


@pytest.mark.parametrize(
    ("status", "lines", "seconds"),
    # RFC 9110 §15.1; the statuses that one odd request can provoke need a named lifetime
    [(status, "", 100) for status in (200, 203, 204, 300, 301, 308, 404, 410)]
    + [
        (status, "", None)
        for status in (201, 202, 205, 299, 302, 303, 307, 400, 403, 405, 413, 414, 421, 429, 431)
    ]
    + [(status, "", None) for status in (451, 499, 500, 501, 502, 503, 504, 599)]
    + [(status, "Cache-Control: public | ", 100) for status in (201, 299, 302, 307, 403, 499)]
    + [
        (status, "Cache-Control: public | ", None) for status in (400, 405, 413, 414, 431, 500, 501, 503, 599)
    ],
)
def test_which_statuses_are_guessed_for(status, lines, seconds):
    made = freshness_lifetime(
        response(*lines_of(lines + "Last-Modified: {-1000} | Date: {0}"), status=status), POLICY, NOW
    )
    assert (made.ms, made.source.value) == ((0, "none") if seconds is None else (100_000, "heuristic"))


@pytest.mark.parametrize(
    ("status", "guessed"), [(405, True), (414, True), (501, True), (400, False), (500, False)]
)
def test_a_route_may_guess_for_error_statuses(status, guessed):
    policy = CachePolicy(heuristic_errors=True)
    made = freshness_lifetime(response(*lines_of("Last-Modified: {-1000}"), status=status), policy, NOW)
    assert (made.ms > 0) is guessed
    public = response(*lines_of("Last-Modified: {-1000} | Cache-Control: public"), status=status)
    assert freshness_lifetime(public, policy, NOW).ms == 100_000


MODIFIED = "Last-Modified: {-1000} | Date: {0}"
CONFIGURED = [
    # (policy, status, lines, seconds, source)
    (CachePolicy(ttl=7_000), 200, "", 7, "ttl"),
    (CachePolicy(ttl=7_000), 404, "", 7, "ttl"),
    (CachePolicy(ttl=7_000), 200, MODIFIED, 7, "ttl"),
    (CachePolicy(ttl=7_000), 200, "Pragma: no-cache", 7, "ttl"),
    (CachePolicy(ttl=7_000), 200, "Cache-Control: max-age=60", 60, "max-age"),
    (CachePolicy(ttl=7_000), 200, "Cache-Control: max-age=0", 0, "max-age"),
    (CachePolicy(ttl=7_000), 200, "Expires: 0", 0, "Expires"),
    (CachePolicy(ttl=7_000), 302, "", 0, "none"),
    (CachePolicy(ttl=7_000), 500, "", 0, "none"),
    (CachePolicy(ttl=7_000), 400, "", 0, "none"),
    (CachePolicy(ttl=7_000), 501, "", 0, "none"),
    (CachePolicy(ttl=7_000), 302, "Cache-Control: public", 7, "ttl"),
    (CachePolicy(ttl=0), 200, MODIFIED, 0, "ttl"),
    (CachePolicy(heuristic=False), 200, MODIFIED, 0, "none"),
    (CachePolicy(heuristic=False, ttl=7_000), 200, MODIFIED, 7, "ttl"),
    (CachePolicy(status_ttl=((404, 3_000),)), 404, "", 3, "status_ttl"),
    (CachePolicy(status_ttl=((404, 3_000),)), 404, MODIFIED, 3, "status_ttl"),
    (CachePolicy(status_ttl=((404, 3_000),)), 200, MODIFIED, 100, "heuristic"),
    (CachePolicy(status_ttl=((404, 3_000),)), 404, "Cache-Control: max-age=60", 60, "max-age"),
    (CachePolicy(status_ttl=((503, 3_000),)), 503, "", 3, "status_ttl"),
    (CachePolicy(status_ttl=((404, 3_000),), ttl=7_000), 404, "", 3, "status_ttl"),
    (CachePolicy(status_ttl=((404, 3_000),), ttl=7_000), 200, "", 7, "ttl"),
    (CachePolicy(override_ttl=5_000), 200, "Cache-Control: max-age=60", 5, "override_ttl"),
    (CachePolicy(override_ttl=5_000), 200, "Cache-Control: s-maxage=60", 5, "override_ttl"),
    (CachePolicy(override_ttl=5_000), 200, "Expires: 0", 5, "override_ttl"),
    (CachePolicy(override_ttl=5_000), 200, "CDN-Cache-Control: max-age=60", 5, "override_ttl"),
    (CachePolicy(override_ttl=0), 200, "Cache-Control: max-age=60", 0, "override_ttl"),
    (CachePolicy(override_ttl=5_000), 404, "", 5, "override_ttl"),
    (CachePolicy(override_ttl=5_000), 500, "", 0, "none"),
    (CachePolicy(override_ttl=5_000), 500, "Cache-Control: max-age=60", 60, "max-age"),
    (CachePolicy(override_ttl=5_000), 302, "", 0, "none"),
    (
        CachePolicy(override_ttl=5_000, status_ttl=((404, 3_000),)),
        404,
        "Cache-Control: max-age=9",
        3,
        "override_ttl",
    ),
    (CachePolicy(override_ttl=5_000, status_ttl=((500, 3_000),)), 500, "", 3, "override_ttl"),
    (CachePolicy(override_ttl=5_000, ttl=7_000), 200, "", 5, "override_ttl"),
    (
        replace(POLICY, targets=()),
        200,
        "CDN-Cache-Control: max-age=2 | Cache-Control: max-age=1",
        1,
        "max-age",
    ),
]


@pytest.mark.parametrize(("policy", "status", "lines", "seconds", "source"), CONFIGURED)
def test_configured_lifetimes(policy, status, lines, seconds, source):
    made = freshness_lifetime(response(*lines_of(lines), status=status), policy, NOW)
    assert (made.ms, made.source.value) == (seconds * 1000, source)


DATES = [
    # RFC 9110 §5.6.7, and RFC 9111 §4.2 on case and zones
    ("Sun, 06 Nov 1994 08:49:37 GMT", 784111777),
    ("Sunday, 06-Nov-94 08:49:37 GMT", 784111777),
    ("Sun Nov  6 08:49:37 1994", 784111777),
    ("Sun Nov 16 08:49:37 1994", 784975777),
    ("sun, 06 nov 1994 08:49:37 gmt", 784111777),
    ("SUN, 06 NOV 1994 08:49:37 GMT", 784111777),
    ("Sun, 06 Nov 1994 08:49:37 gmt", 784111777),
    ("sun nov  6 08:49:37 1994", 784111777),
    ("SUNDAY, 06-NOV-94 08:49:37 GMT", 784111777),
    ("Thursday, 18-Aug-50 02:01:18 GMT", 2544400878),
    ("Thu, 18 Aug 2050 02:01:18 GMT", 2544400878),
    ("Fri, 31 Dec 9999 23:59:59 GMT", 253402300799),
    ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
    ("Thu, 18 Aug 2050 02:01:18 UTC", None),
    ("Thu, 18 Aug 2050 02:01:18 AEST", None),
    ("Thu, 18 Aug 2050 02:01:18 +0000", None),
    ("Thu, 18 Aug 2050 02:01:18", None),
    ("Thu, 18 Aug 2050 2:01:18 GMT", None),
    ("Thu, 18 Aug 2050 02:01 GMT", None),
    ("Thu, 18 Aug 2050 02:01:60 GMT", 2544400920),
    ("Thu, 18 Aug 2050 02:60:18 GMT", None),
    ("Thu, 18 Aug 2050 24:01:18 GMT", None),
    ("Thu, 18 Aug 50 02:01:18 GMT", None),
    ("Thu, 8 Aug 2050 02:01:18 GMT", None),
    ("Thu, 32 Aug 2050 02:01:18 GMT", None),
    ("Thu, 31 Feb 2050 02:01:18 GMT", None),
    ("Thu, 18-Aug-2050 02:01:18 GMT", None),
    ("Thu 18 Aug 2050 02:01:18 GMT", None),
    ("Thu,18 Aug 2050 02:01:18 GMT", None),
    ("Thu, 18  Aug 2050 02:01:18 GMT", None),
    ("Thu, 18 Aug 2050 02-01-18 GMT", None),
    ("Aug, 18 Thu 2050 02:01:18 GMT", None),
    ("18 Aug 2050 02:01:18 GMT", None),
    ("2050-08-18T02:01:18Z", None),
    ("2544400878", None),
    ("0", None),
    ("", None),
    ("-1", None),
    ("Thu, 18 Aug 2050 02:01:18 GMT, Thu, 18 Aug 2050 02:01:18 GMT", None),
    ("\xe9", None),
]


@pytest.mark.parametrize(("text", "seconds"), DATES)
def test_dates(text, seconds):
    assert parse_date(text, NOW_S) == seconds


@pytest.mark.parametrize("seconds", [0, 1, NOW_S, 784111777, 253402300799, -1])
def test_dates_are_written_as_they_are_read(seconds):
    assert parse_date(format_date(seconds), NOW_S) == seconds


def test_a_date_out_of_bounds_is_written_as_the_nearest():
    assert format_date(10**15) == "Fri, 31 Dec 9999 23:59:59 GMT"
