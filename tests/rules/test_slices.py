"""Slice arithmetic against counting, and what a 206 has to be to count as a slice."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdn.config.values import CachePolicy
from cdn.rules import slices
from cdn.rules.message import Fields, RequestHead, ResponseHead
from cdn.rules.outcome import NoStoreReason
from cdn.rules.slices import Slice
from cdn.rules.stored import Stored
from cdn.rules.storing import DontStore
from tests.rules.make import NOW

SIZE = 100
REQUEST = RequestHead("GET", "http", "site.test", "/a", None, Fields())


@given(size=st.integers(1, 50), length=st.integers(1, 400), data=st.data())
def test_slices_against_counting(size: int, length: int, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, length - 1))
    last = data.draw(st.integers(first, length - 1))
    taken = sorted({position // size for position in range(first, last + 1)})
    assert list(slices.numbers(first, last, size)) == taken
    for number in taken:
        bytes_of = [position for position in range(length) if position // size == number]
        assert slices.span_of(number, size, length) == (bytes_of[0], bytes_of[-1])
        begin, end = slices.request_span(number, size)
        assert (begin, end) == (number * size, number * size + size - 1)


OPENINGS = {
    "bytes=0-0": 0,
    "bytes=99-99": 0,
    "bytes=100-100": 1,
    "bytes=99-100": 0,
    "bytes=5000000000-": 50_000_000,
    "bytes=-1": 0,  # of an unknown length: the first slice tells it
    "bytes=-0": None,
    "bytes=0-0,5-6": None,
    "bytes=0-0,": 0,
    "bytes=5-4": None,
    "bytes=": None,
    "bytes=x-": None,
    "items=0-5": None,
    "bytes=99999999999999999999-": None,
    "": None,
}


@pytest.mark.parametrize(("value", "number"), OPENINGS.items(), ids=list(OPENINGS))
def test_where_a_range_begins(value: str, number: int | None) -> None:
    assert slices.opening(Fields([("Range", value)]), SIZE) == number


def test_where_no_range_or_two_lines_begin() -> None:
    assert slices.opening(Fields(), SIZE) is None
    assert slices.opening(Fields([("Range", "bytes=0-0"), ("Range", "bytes=1-1")]), SIZE) is None


def answer(*lines: tuple[str, str], status: int = 206) -> ResponseHead:
    return ResponseHead(status, Fields([("Cache-Control", "max-age=60"), ("ETag", '"a"'), *lines]))


def decide(response: ResponseHead, number: int = 1) -> Slice | DontStore:
    return slices.decide_slice(
        REQUEST,
        response,
        CachePolicy(override_ttl=60_000),
        slices.request_span(number, SIZE),
        request_time=NOW,
        response_time=NOW,
    )


FITS = {
    "a slice in the middle": ("bytes 100-199/1000", 1, (100, 199, 1000)),
    "the last, whole": ("bytes 900-999/1000", 9, (900, 999, 1000)),
    "the last, short": ("bytes 900-950/951", 9, (900, 950, 951)),
    "everything": ("bytes 0-50/51", 0, (0, 50, 51)),
}


@pytest.mark.parametrize(("value", "number", "what"), FITS.values(), ids=FITS)
def test_a_slice(value: str, number: int, what: tuple[int, int, int]) -> None:
    made = decide(answer(("Content-Range", value)), number)
    assert isinstance(made, Slice)
    assert (made.first, made.last, made.length) == what
    assert made.stored.status == 200
    assert "content-range" not in made.stored.fields
    assert made.whole is (what[:2] == (0, what[2] - 1))


UNFIT = {
    "begins later": "bytes 101-199/1000",
    "begins earlier": "bytes 99-199/1000",
    "ends earlier": "bytes 100-198/1000",
    "ends later": "bytes 100-200/1000",
    "ends before its own end": "bytes 100-150/160",
    "unknown length": "bytes 100-199/*",
    "unsatisfied": "bytes */1000",
    "another unit": "items 100-199/1000",
    "impossible": "bytes 100-199/150",
    "nothing": "",
}


@pytest.mark.parametrize("value", UNFIT.values(), ids=UNFIT)
def test_what_is_no_slice(value: str) -> None:
    assert decide(answer(("Content-Range", value))) == DontStore(NoStoreReason.PARTIAL)


def test_several_lines_or_another_status_are_no_slice() -> None:
    line = ("Content-Range", "bytes 100-199/1000")
    assert isinstance(decide(answer(line, line)), DontStore)
    assert isinstance(decide(answer(line, status=200)), DontStore)


def test_what_may_not_be_stored_is_no_slice() -> None:
    line = ("Content-Range", "bytes 100-199/1000")
    assert decide(answer(line, ("Cache-Control", "private"))) == DontStore(NoStoreReason.PRIVATE)


def stored(*lines: tuple[str, str]) -> Stored:
    response = answer(("Content-Range", "bytes 100-199/1000"), *lines)
    fields = (
        response.fields if any(name == "ETag" for name, _ in lines) else response.fields.without(("etag",))
    )
    fields = Fields([*((n, v) for n, v in fields if n != "ETag"), *((n, v) for n, v in lines if n == "ETag")])
    made = decide(ResponseHead(206, fields))
    assert isinstance(made, Slice)
    return made.stored


DATE = ("Date", "Thu, 01 Jan 2015 00:01:00 GMT")
VALIDATORS = {
    "strong tag": ((("ETag", '"x"'),), '"x"'),
    "weak tag": ((("ETag", 'W/"x"'),), None),
    "a tag without quotes": ((("ETag", "x"),), None),
    "weak tag beside an old date": (
        (("ETag", 'W/"x"'), ("Last-Modified", "Thu, 01 Jan 2009 00:00:00 GMT"), DATE),
        None,
    ),
    "strong tag beside a young date": ((("ETag", '"x"'), ("Last-Modified", DATE[1]), DATE), '"x"'),
    "a date a minute ago": (
        (("Last-Modified", "Thu, 01 Jan 2015 00:00:00 GMT"), DATE),
        "Thu, 01 Jan 2015 00:00:00 GMT",
    ),
    "a date a second less ago": ((("Last-Modified", "Thu, 01 Jan 2015 00:00:01 GMT"), DATE), None),
    "a date of now": ((("Last-Modified", DATE[1]), DATE), None),
    "a date to come": ((("Last-Modified", "Thu, 01 Jan 2016 00:00:00 GMT"), DATE), None),
    "two dates": (
        (
            ("Last-Modified", "Thu, 01 Jan 2009 00:00:00 GMT"),
            ("Last-Modified", "Thu, 01 Jan 2009 00:00:00 GMT"),
            DATE,
        ),
        None,
    ),
}


@pytest.mark.parametrize(("lines", "proof"), VALIDATORS.values(), ids=VALIDATORS)
def test_what_proves_that_slices_belong_together(
    lines: tuple[tuple[str, str], ...], proof: str | None
) -> None:
    assert slices.validator(stored(*lines)) == proof


def test_the_request_for_a_slice() -> None:
    request = RequestHead(
        "GET",
        "http",
        "site.test",
        "/a",
        None,
        Fields([("Range", "bytes=5-6"), ("If-Range", '"y"'), ("If-None-Match", '"z"'), ("Accept", "*/*")]),
    )
    assert list(slices.slice_request(request, (100, 199), '"x"')) == [
        ("Accept", "*/*"),
        ("Range", "bytes=100-199"),
        ("If-Range", '"x"'),
    ]
    assert list(slices.slice_request(request, (0, 99), None)) == [("Accept", "*/*"), ("Range", "bytes=0-99")]
