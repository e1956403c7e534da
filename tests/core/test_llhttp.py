"""The head scanner beside llhttp, as aiohttp's request parser carries it.

Whatever llhttp refuses we refuse, and what we take llhttp reads the same, so that nothing can be cut
differently behind us. `LLHTTP_IS_STRICTER` names where that parser refuses what RFC 9112 allows and no
framing hangs on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
from aiohttp.http_exceptions import HttpProcessingError, InvalidURLError
from aiohttp.http_parser import HttpRequestParser
from hypothesis import given, settings
from hypothesis import strategies as st

from cdn._core import HeadError, RequestHeadView, scan_request_head, split_head
from tests.core.cases_head import REQUESTS, SMUGGLING
from tests.core.test_head import HEADS

LLHTTP_IS_STRICTER = {
    "unknown method": "a fixed list of methods",
    "any token as method": "a fixed list of methods",
    "lower-case get is another method": "a fixed list of methods",
}
WE_ARE_STRICTER = {
    "two empty lines before",
    "bare LF before",
    "bare CR before",  # llhttp skips any CR and LF before a request
    "two spaces",  # and waits for more where spaces or the version are missing
    "no version",
    "0.9",
    "2.0",
    "CL over 63 bits",
    "TE comma before",
    "TE gzip, chunked",
    "TE space behind",
    "TE empty",
    "TE on 1.0",
}


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    made = asyncio.new_event_loop()
    yield made
    made.close()


def llhttp(data: bytes, loop: asyncio.AbstractEventLoop) -> Any:
    parser = HttpRequestParser(mock.Mock(), loop, 2**16, max_line_size=2**16, max_field_size=2**16)
    try:
        messages, _, _ = parser.feed_data(data)
    except (HttpProcessingError, ValueError) as fault:
        return fault
    return messages[0][0] if messages else None


def ours(data: bytes) -> Any:
    try:
        return scan_request_head(data)
    except HeadError as fault:
        return fault


CASES = REQUESTS | SMUGGLING


@pytest.mark.parametrize("name", CASES)
def test_table(name: str, loop: asyncio.AbstractEventLoop) -> None:
    data, _ = CASES[name]
    theirs, own = llhttp(data, loop), ours(data)
    refused = isinstance(theirs, Exception)
    if name in LLHTTP_IS_STRICTER:
        assert refused
        assert isinstance(own, RequestHeadView)
    elif name in WE_ARE_STRICTER:
        assert not refused
        assert isinstance(own, HeadError)
    else:
        assert refused == isinstance(own, HeadError)
        if not refused:
            same_reading(own, theirs)


def same_reading(own: RequestHeadView, theirs: Any) -> None:
    assert theirs is not None
    assert theirs.method == own.method
    assert theirs.path.encode("utf-8", "surrogateescape") == own.target
    assert theirs.version == (1, own.minor)
    lines = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in theirs.raw_headers]
    assert lines == own.fields
    assert theirs.chunked == own.chunked
    length = theirs.headers.get("Content-Length")
    assert (None if length is None else int(length)) == own.content_length


LISTED = {b"GET", b"POST", b"PUT", b"HEAD", b"OPTIONS", b"DELETE", b"PATCH"}


@settings(max_examples=500, deadline=None)
@given(data=st.one_of(HEADS, st.sampled_from([data for data, _ in CASES.values()])), change=st.data())
def test_what_we_take_is_read_the_same(data: bytes, change: st.DataObject) -> None:
    at = change.draw(st.integers(0, max(0, len(data) - 1)))
    data = data[:at] + change.draw(st.sampled_from([b"", b"\r", b"\n", b" ", b"\0", b",", b"x"])) + data[at:]
    own = ours(data)
    if not isinstance(own, RequestHeadView) or own.method.encode() not in LISTED:
        return
    made = asyncio.new_event_loop()
    try:
        theirs = llhttp(data[: own.length], made)
    finally:
        made.close()
    if isinstance(theirs, InvalidURLError):
        with pytest.raises(HeadError):
            split_head(data, False)  # not the scanner's part: the target is refused when it is taken apart
    elif isinstance(theirs, Exception):
        assert "duplicate" in str(theirs).lower(), (
            data,
            theirs,
        )  # a field that occurs once moves no message's end
    else:
        same_reading(own, theirs)
