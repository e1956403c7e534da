"""Entity-tag lists, ranges, dates and the pieces of a head against their plain twins."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime
from http import HTTPStatus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdn._core import (
    etag_list_matches,
    format_field,
    format_http_date,
    format_uint,
    list_has_token,
    parse_http_date,
    parse_range,
    parse_ranges,
    reason_phrase,
    status_line,
)
from tests.core import oracle_fields

# list, tag, weak comparison, strong comparison
TAGS: list[tuple[bytes, bytes, bool, bool]] = [
    (b'"a"', b'"a"', True, True),
    (b'W/"a"', b'"a"', True, False),
    (b'"a"', b'W/"a"', True, False),
    (b'W/"a"', b'W/"a"', True, False),
    (b'"a"', b'"b"', False, False),
    (b'"a"', b'"A"', False, False),
    (b'"a", "b"', b'"b"', True, True),
    (b'"a","b"', b'"b"', True, True),
    (b'"a"\t ,\t "b" ', b'"b"', True, True),
    (b', ,"b",,', b'"b"', True, True),
    (b'W/"a", "a"', b'"a"', True, True),
    (b'"a,b", "c"', b'"c"', True, True),
    (b'"a,b"', b'"a,b"', True, True),
    (b'"a, \\"b"', b'"b"', False, False),
    (b'"a,b"', b'"b"', False, False),
    (b'""', b'""', True, True),
    (b'"\xff\x80"', b'"\xff\x80"', True, True),
    (b"*", b'"a"', True, True),
    (b" * ", b'"a"', True, True),
    (b"*", b"", True, True),
    (b'*, "b"', b'"a"', False, False),
    (b'*, "a"', b'"a"', True, True),
    (b'"*"', b'"a"', False, False),
    (b"", b'"a"', False, False),
    (b",", b'"a"', False, False),
    (b'"a"', b"", False, False),
    (b"", b"", False, False),
    (b"a", b"a", True, False),
    (b"a", b"b", False, False),
    (b" a\t", b"a", True, False),
    (b"b, a , c", b"a", True, False),
    (b'"x", a', b"a", True, False),
    (b'a, "', b"a", True, False),
    (b'", a', b"a", False, False),
    (b"ab", b"a", False, False),
    (b"a", b"ab", False, False),
    (b"a b", b"a", False, False),
    (b"a b", b"a b", False, False),
    (b"a,b", b"a,b", False, False),
    (b"W/a", b"a", False, False),
    (b"a", b"W/a", False, False),
    (b"W/a", b"W/a", True, False),
    (b'W/"a"', b"a", False, False),
    (b"*", b"a", True, True),
    (b"\xff", b"\xff", True, False),
    (b"a\x7f", b"a\x7f", False, False),
    (b"a", b'"a"', False, False),
    (b'"a"', b"a", False, False),
    (b'a, "b"', b'"b"', True, True),
    (b'w/"a"', b'"a"', False, False),
    (b'W/ "a"', b'"a"', False, False),
    (b'W"a"', b'"a"', False, False),
    (b'w/"a", "b"', b'"b"', False, False),
    (b'"a', b'"a"', False, False),
    (b'"', b'"a"', False, False),
    (b'a"', b'"a"', False, False),
    (b'"a""b"', b'"b"', False, False),
    (b'"a" "b"', b'"b"', False, False),
    (b'"a"x, "b"', b'"b"', False, False),
    (b'"b"x', b'"b"', False, False),
    (b'x"y,"b"', b'"b"', False, False),
    (b'"a b", "c"', b'"c"', False, False),
    (b'"a\x7f", "c"', b'"c"', False, False),
    (b'"a\0"', b'"a"', False, False),
    (b'"abc"', b'"ab"', False, False),
    (b'"ab"', b'"abc"', False, False),
    (b"W/", b'W/"a"', False, False),
]


@pytest.mark.parametrize(("value", "etag", "weak", "strong"), TAGS)
def test_tags(value: bytes, etag: bytes, weak: bool, strong: bool) -> None:
    for compare_weak, expected in ((True, weak), (False, strong)):
        assert etag_list_matches(value, etag, compare_weak) == expected
        assert oracle_fields.etag_matches(value, etag, compare_weak) == expected


TAG_PIECES = st.sampled_from(
    [b'"', b'"', b'"', b"a", b"b", b",", b" ", b"W/", b"*", b'"a"', b'W/"b"', b"\\", b"\t", b"\xff"]
)
ONE_TAG = st.sampled_from([b'"a"', b'W/"b"', b'"b"', b'""', b'"a,b"', b"a", b"W/a", b"ab", b"*", b"", b'"'])


@settings(max_examples=1000, deadline=None)
@given(value=st.lists(TAG_PIECES, max_size=12).map(b"".join), etag=ONE_TAG, weak=st.booleans())
def test_any_tags(value: bytes, etag: bytes, weak: bool) -> None:
    assert etag_list_matches(value, etag, weak) == oracle_fields.etag_matches(value, etag, weak)


Ranges = list[tuple[int, int]] | None
# value, length, parse_range, parse_ranges
RANGES: list[tuple[bytes, int, tuple[str, int, int], Ranges]] = [
    (b"bytes=0-0", 10, ("one", 0, 0), [(0, 0)]),
    (b"bytes=0-9", 10, ("one", 0, 9), [(0, 9)]),
    (b"bytes=0-10", 10, ("one", 0, 9), [(0, 9)]),
    (b"bytes=9-", 10, ("one", 9, 9), [(9, 9)]),
    (b"bytes=-1", 10, ("one", 9, 9), [(9, 9)]),
    (b"bytes=-10", 10, ("one", 0, 9), [(0, 9)]),
    (b"bytes=-11", 10, ("one", 0, 9), [(0, 9)]),
    (b"BYTES=1-2", 10, ("one", 1, 2), [(1, 2)]),
    (b" bytes=1-2\t", 10, ("one", 1, 2), [(1, 2)]),
    (b"bytes= 1-2 ", 10, ("one", 1, 2), [(1, 2)]),
    (b"bytes=,1-2,,", 10, ("one", 1, 2), [(1, 2)]),
    (b"bytes=001-0002", 10, ("one", 1, 2), [(1, 2)]),
    (b"bytes=1-99999999999999999999999", 10, ("one", 1, 9), [(1, 9)]),
    (b"bytes=-99999999999999999999999", 10, ("one", 0, 9), [(0, 9)]),
    (b"bytes=9223372036854775807-9223372036854775807", 2**63 - 1, ("unsatisfiable", 0, 0), []),
    (b"bytes=9223372036854775806-", 2**63 - 1, ("one", 2**63 - 2, 2**63 - 2), [(2**63 - 2, 2**63 - 2)]),
    (b"bytes=10-", 10, ("unsatisfiable", 0, 0), []),
    (b"bytes=10-20", 10, ("unsatisfiable", 0, 0), []),
    (b"bytes=99999999999999999999-", 10, ("unsatisfiable", 0, 0), []),
    (b"bytes=-0", 10, ("unsatisfiable", 0, 0), []),
    (b"bytes=-000", 10, ("unsatisfiable", 0, 0), []),
    (b"bytes=0-", 0, ("unsatisfiable", 0, 0), []),
    (b"bytes=0-0", 0, ("unsatisfiable", 0, 0), []),
    (b"bytes=-0", 0, ("unsatisfiable", 0, 0), []),
    (b"bytes=-5", 0, ("ignore", 0, 0), None),
    (b"bytes=0-,-5", 0, ("many", 0, 0), None),
    (b"bytes=0-1,3-4", 10, ("many", 0, 0), [(0, 1), (3, 4)]),
    (b"bytes=3-4 , 0-1\t,-1", 10, ("many", 0, 0), [(3, 4), (0, 1), (9, 9)]),
    (b"bytes=0-1,0-1,0-1", 10, ("many", 0, 0), [(0, 1)] * 3),
    (b"bytes=20-,0-1", 10, ("many", 0, 0), [(0, 1)]),
    (b"bytes=20-,30-", 10, ("many", 0, 0), []),
    *(
        (value, 10, ("ignore", 0, 0), None)
        for value in [
            b"", b"bytes", b"bytes=", b"bytes=,", b"bytes= ", b"bytes=-", b"bytes=a-b", b"bytes=1",
            b"bytes=1-2-3", b"bytes=--1",
            b"bytes=2-1", b"bytes=1 -2", b"bytes=1- 2", b"bytes =1-2", b"bytes:1-2", b"items=1-2",
            b"xbytes=1-2", b"bytes=0x1-2",
            b"bytes=+1-2", b"bytes=1-+2", b"bytes=1-2;3-4", b"bytes=1-2 3-4", b"bytes=1-2,x",
            b"bytes=1-2,2-1", b"bytes=1-2,-",
            b"bytes=\xb2-3", b"bytes=1-2\0", b"bytes=1.0-2", b"=1-2", b"1-2", b"bytes=bytes=1-2",
        ]
    ),
]  # fmt: skip


@pytest.mark.parametrize(("value", "length", "one", "many"), RANGES)
def test_range(value: bytes, length: int, one: tuple[str, int, int], many: Ranges) -> None:
    assert parse_range(value, length) == oracle_fields.parse_range(value, length) == one
    assert parse_ranges(value, length) == oracle_fields.parse_ranges(value, length) == many


def test_a_length_that_is_not_known() -> None:
    for parse in (parse_range, parse_ranges):
        with pytest.raises(ValueError, match="not known"):
            parse(b"bytes=0-", -1)


RANGE_PIECES = st.sampled_from(
    [b"0", b"1", b"7", b"12", b"-", b"-", b"-", b",", b" ", b"99999999999999999999", b"a", b"\t"]
)


@settings(max_examples=1000, deadline=None)
@given(pieces=st.lists(RANGE_PIECES, max_size=12), length=st.integers(0, 15))
def test_any_range(pieces: list[bytes], length: int) -> None:
    value = b"bytes=" + b"".join(pieces)
    one, many = parse_range(value, length), parse_ranges(value, length)
    assert one == oracle_fields.parse_range(value, length)
    assert many == oracle_fields.parse_ranges(value, length)
    for first, last in many or ():
        assert 0 <= first <= last < length
    if one[0] == "one":
        assert many == [one[1:]]


NOW = 1_700_000_000  # 2023-11-14
STAMP = 784111777
DATES: dict[bytes, int | None] = {
    b"Sun, 06 Nov 1994 08:49:37 GMT": STAMP,
    b"Sunday, 06-Nov-94 08:49:37 GMT": STAMP,
    b"Sun Nov  6 08:49:37 1994": STAMP,
    b"Sun Nov 06 08:49:37 1994": STAMP,
    b"Mon, 06 Nov 1994 08:49:37 GMT": STAMP,  # the day's name is not checked against the date
    b"Thu, 01 Jan 1970 00:00:00 GMT": 0,
    b"Wed, 31 Dec 1969 23:59:59 GMT": -1,
    b"Tue, 29 Feb 2000 00:00:00 GMT": 951782400,
    b"Thu, 29 Feb 2024 00:00:00 GMT": 1709164800,
    b"Fri, 31 Dec 9999 23:59:59 GMT": 253402300799,
    b"Sat, 01 Jan 0000 00:00:00 GMT": -62167219200,
    b"Sat, 31 Dec 2016 23:59:60 GMT": 1483228800,
    b"Tuesday, 14-Nov-73 22:13:20 GMT": 3277923200,  # 50 years ahead to the second
    b"Tuesday, 14-Nov-73 22:13:21 GMT": 122163201,  # a second more: 1973
    b"Friday, 31-Dec-99 00:00:00 GMT": 946598400,
    b"Saturday, 01-Jan-00 00:00:00 GMT": 946684800,
    b"Wednesday, 29-Feb-00 00:00:00 GMT": 951782400,
    **dict.fromkeys(
        [
            b"", b"0", b"-1", b"784111777", b"Sun, 06 Nov 1994 08:49:37", b"Sun, 06 Nov 1994 08:49:37 UTC",
            b"Sun, 06 Nov 1994 08:49:37 gmt", b"sun, 06 Nov 1994 08:49:37 GMT",
            b"Sun, 06 nov 1994 08:49:37 GMT",
            b"Sun, 6 Nov 1994 08:49:37 GMT", b"Sun,  6 Nov 1994 08:49:37 GMT", b"Sun, 06 Nov 94 08:49:37 GMT",
            b"Sun, 06-Nov-1994 08:49:37 GMT", b"Xxx, 06 Nov 1994 08:49:37 GMT",
            b"Sun, 06 Xxx 1994 08:49:37 GMT",
            b"Sun, 00 Nov 1994 08:49:37 GMT", b"Sun, 31 Nov 1994 08:49:37 GMT",
            b"Sun, 32 Oct 1994 08:49:37 GMT",
            b"Sun, 29 Feb 1994 08:49:37 GMT", b"Sun, 29 Feb 1900 08:49:37 GMT",
            b"Sun, 30 Feb 2000 08:49:37 GMT",
            b"Sun, 06 Nov 1994 24:00:00 GMT", b"Sun, 06 Nov 1994 08:60:00 GMT",
            b"Sun, 06 Nov 1994 08:49:61 GMT",
            b"Sun, 06 Nov 1994 8:49:37 GMT ", b"Sun, 06 Nov 1994 08-49-37 GMT",
            b"Sun, 06 Nov 1994 +8:49:37 GMT",
            b"Sun, 06 Nov 1994 08:49:37 GMT ", b" Sun, 06 Nov 1994 08:49:37 GMT",
            b"Sun, 06 Nov 1994 08:49:37 GMT\0",
            b"Sun, 06 Nov -994 08:49:37 GMT", b"Sun, 06 Nov 1994  8:49:37 GMT",
            b"Sun, 06 Nov 1994 08:49:37.0 GMT",
            b"Sun 06 Nov 1994 08:49:37 GMT", b"Sun,06 Nov 1994 08:49:37 GMT",
            b"Sunday, 06 Nov 1994 08:49:37 GMT",
            b"Sun, 06-Nov-94 08:49:37 GMT", b"Sundae, 06-Nov-94 08:49:37 GMT",
            b"Sunday, 6-Nov-94 08:49:37 GMT",
            b"Sunday, 31-Nov-94 08:49:37 GMT", b"Sunday, 06-Nov-94 08:49:37 UTC",
            b"Sunday, 06 Nov-94 08:49:37 GMT",
            b"Sunday, 06-Nov-xx 08:49:37 GMT", b"Sun Nov 6 08:49:37 1994", b"Sun Nov 31 08:49:37 1994",
            b"Sun Nov  0 08:49:37 1994",
            b"Sun Nov  6 08:49:37 94  ", b"Sun Nov  6 25:49:37 1994", b"Xun Nov  6 08:49:37 1994",
            b"Sun Nox  6 08:49:37 1994",
            b"Sun Nov\t 6 08:49:37 1994", b"1994-11-06T08:49:37Z",
        ]
    ),
}  # fmt: skip


@pytest.mark.parametrize("value", DATES)
def test_date(value: bytes) -> None:
    assert parse_http_date(value, NOW) == DATES[value]
    assert oracle_fields.http_date(value, NOW) == DATES[value]


SECONDS = st.integers(-62135596800, 253402300799)


@settings(max_examples=500, deadline=None)
@given(seconds=SECONDS)
def test_date_round_trip(seconds: int) -> None:
    moment = datetime.fromtimestamp(seconds, UTC)
    text = format_http_date(seconds)
    assert text == format_datetime(moment, usegmt=True)
    assert parse_http_date(text.encode(), NOW) == seconds
    asctime = moment.strftime("%a %b ") + f"{moment.day:2d} {moment:%H:%M:%S} {moment.year:04d}"
    assert parse_http_date(asctime.encode(), NOW) == seconds


@settings(max_examples=500, deadline=None)
@given(seconds=st.integers(0, 8_000_000_000), now=st.integers(0, 8_000_000_000))
def test_two_digit_years(seconds: int, now: int) -> None:
    """The century is that of the last such year not more than 50 years ahead of now."""
    moment = datetime.fromtimestamp(seconds, UTC)
    value = f"{moment:%A, %d-%b-%y %H:%M:%S} GMT".encode()
    found = parse_http_date(value, now)
    assert found == oracle_fields.http_date(value, now)
    if found is not None:
        assert -50.01 <= (found - now) / 31556952 <= 50.01


@settings(max_examples=500, deadline=None)
@given(
    value=st.sampled_from([value for value, seconds in DATES.items() if seconds == STAMP]),
    at=st.integers(0, 32),
    byte=st.sampled_from(list(b"0123456789 :,-aGJ\0\xff")),
)
def test_one_changed_byte_of_a_date(value: bytes, at: int, byte: int) -> None:
    changed = value[:at] + bytes([byte]) + value[at + 1 :]
    assert parse_http_date(changed, NOW) == oracle_fields.http_date(changed, NOW)


@pytest.mark.parametrize("seconds", [-62135596801, 253402300800])
def test_no_date_for_a_year_of_other_than_four_digits(seconds: int) -> None:
    with pytest.raises(ValueError, match="four digits"):
        format_http_date(seconds)


def test_status_lines() -> None:
    for status in range(100, 1000):
        phrase = reason_phrase(status)
        assert status_line(status) == f"HTTP/1.1 {status} {phrase}\r\n".encode()
    for known in HTTPStatus:
        assert reason_phrase(known.value)
    assert (reason_phrase(404), reason_phrase(299), reason_phrase(-1), reason_phrase(5000)) == (
        "Not Found",
        "",
        "",
        "",
    )
    for status in (0, 99, 1000, -200):
        with pytest.raises(ValueError, match="three digits"):
            status_line(status)


@settings(max_examples=200, deadline=None)
@given(value=st.integers(0, 2**64 - 1) | st.sampled_from([0, 9, 10, 99, 100, 2**63, 2**64 - 1]))
def test_numbers(value: int) -> None:
    assert format_uint(value) == str(value).encode()


def test_field_line() -> None:
    assert format_field(b"Age", b"12") == b"Age: 12\r\n"
    assert format_field(b"X", b"") == b"X: \r\n"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"close", True), (b"Close", True), (b" close\t", True), (b"a, CLOSE", True), (b"close,a", True),
        (b",,close,", True),
        (b"a,close,b", True), (b"", False), (b",", False), (b"closed", False), (b"clos", False),
        (b"close a", False),
        (b"close;a", False), (b'"close"', False), (b"x=close", False), (b"a close", False),
    ],
)  # fmt: skip
def test_list_has_token(value: bytes, expected: bool) -> None:
    assert list_has_token(value, b"close") is expected
