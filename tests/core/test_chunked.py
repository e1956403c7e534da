"""Chunked framing against its plain twin: whole, in bytes, cut anywhere, with a second message behind."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdn._core import ChunkedDecoder, HeadError
from tests.core.oracle_fields import BadChunkError, dechunk

LAST = b"0\r\n\r\n"
GOOD: dict[str, tuple[bytes, bytes]] = {
    "empty": (LAST, b""),
    "one": (b"5\r\nhello\r\n" + LAST, b"hello"),
    "several": (b"1\r\na\r\n2\r\nbc\r\n3\r\ndef\r\n" + LAST, b"abcdef"),
    "hex in both cases": (b"a\r\n0123456789\r\nA\r\n0123456789\r\n" + LAST, b"0123456789" * 2),
    "leading zeros": (b"0005\r\nhello\r\n000\r\n\r\n", b"hello"),
    "extension": (b'5;a=b;c="d e"\r\nhello\r\n0;x\r\n\r\n', b"hello"),
    "white space before an extension": (b"5 \t;a\r\nhello\r\n" + LAST, b"hello"),
    "tab and obs-text in an extension": (b"5;a\t\xff\r\nhello\r\n" + LAST, b"hello"),
    "empty extension": (b"5;\r\nhello\r\n" + LAST, b"hello"),
    "framing as data": (b"5\r\n0\r\n\r\n\r\n" + LAST, b"0\r\n\r\n"),
    "trailers": (b"1\r\na\r\n0\r\nA: b\r\nC:\r\nD:\te\xff \r\n\r\n", b"a"),
    "size line at its bound": (b"1;" + b"x" * 4092 + b"\r\na\r\n" + LAST, b"a"),
    "trailer at its bound": (b"0\r\nA:" + b"x" * 8186 + b"\r\n\r\n", b""),
    "many one-byte chunks": (b"1\r\na\r\n" * 30_000 + LAST, b"a" * 30_000),
    "a fair extension on each chunk": (b"100;sig=0123456789\r\n" + b"x" * 256 + b"\r\n" + LAST, b"x" * 256),
}
BAD: dict[str, bytes] = {
    "no size": b"\r\nhello\r\n",
    "only an extension": b";a\r\n",
    "plus": b"+5\r\nhello\r\n",
    "minus": b"-5\r\nhello\r\n",
    "0x": b"0x5\r\nhello\r\n",
    "underscore": b"1_0\r\n",
    "space before the size": b" 5\r\nhello\r\n",
    "space behind the size": b"5 \r\nhello\r\n",
    "tab behind the size": b"5\t\r\nhello\r\n",
    "letters behind white space": b"5 a\r\n",
    "digits behind white space": b"5 5\r\n",
    "no hex digit": b"g\r\n",
    "NUL": b"5\0\r\nhello\r\n",
    "obs-text": b"\xb9\r\n",
    "bare LF behind the size": b"5\nhello\r\n",
    "bare CR behind the size": b"5\rhello\r\n",
    "bare LF in an extension": b"5;a\nhello\r\n",
    "bare CR in an extension": b"5;a\rb\r\nhello\r\n",
    "control in an extension": b"5;a\x01\r\nhello\r\n",
    "DEL in an extension": b"5;a\x7f\r\nhello\r\n",
    "bare LF behind the data": b"5\r\nhello\n" + LAST,
    "bare CR behind the data": b"5\r\nhello\r0\r\n\r\n",
    "too much data": b"5\r\nhello!\r\n" + LAST,
    "too little data": b"5\r\nhell\r\n" + LAST,
    "over 63 bits": b"8000000000000000\r\n",
    "over 64 bits": b"10000000000000005\r\nhello\r\n",
    "17 digits that wrap": b"fffffffffffffffff\r\n",
    "size line too long": b"1;" + b"x" * 4093 + b"\r\na\r\n" + LAST,
    "zeros without end": b"0" * 4097,
    "trailer without colon": b"0\r\nA\r\n\r\n",
    "trailer without name": b"0\r\n: a\r\n\r\n",
    "trailer name with a space": b"0\r\nA : b\r\n\r\n",
    "trailer folded": b"0\r\nA: b\r\n c\r\n\r\n",
    "trailer with NUL": b"0\r\nA: \0\r\n\r\n",
    "trailer with bare LF": b"0\r\nA: b\n\r\n",
    "trailer with bare CR": b"0\r\nA: b\rC: d\r\n\r\n",
    "trailer too long": b"0\r\nA:" + b"x" * 8187 + b"\r\n\r\n",
    "many trailers": b"0\r\n" + b"A: b\r\n" * 2000 + b"\r\n",
    "bare LF as the end": b"0\r\n\n",
    "bare CR as the end": b"0\r\n\rX",
    "next request instead of the end": b"0\r\nGET / HTTP/1.1\r\n\r\n",
    "one-byte chunks under long extensions": (b"1;" + b"x" * 4000 + b"\r\na\r\n") * 20,
}


def decode(pieces: list[bytes]) -> tuple[bytes, bytes] | str:
    """(body, rest), "more" or "bad"."""
    decoder = ChunkedDecoder()
    body = b""
    try:
        for piece in pieces:
            body += b"".join(decoder.feed(piece))
    except HeadError as fault:
        return "bad" if (fault.status, fault.name) == (400, "chunked") else repr(fault)
    return (body, decoder.rest) if decoder.done else "more"


def twin(data: bytes) -> tuple[bytes, bytes] | str:
    try:
        return dechunk(data) or "more"
    except BadChunkError:
        return "bad"


def in_bytes(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


@pytest.mark.parametrize("name", GOOD)
def test_good(name: str) -> None:
    data, body = GOOD[name]
    for behind in (b"", b"\r\n", b"GET / HTTP/1.1\r\n\r\n", data):
        assert decode([data + behind]) == twin(data + behind) == (body, behind)
        assert decode(in_bytes(data + behind)) == (body, behind)


@pytest.mark.parametrize("name", BAD)
def test_bad(name: str) -> None:
    data = BAD[name]
    assert decode([data]) == twin(data) == decode(in_bytes(data)) == decode([data + b"more"]) == "bad"


@pytest.mark.parametrize("data", [GOOD["several"][0], GOOD["trailers"][0], GOOD["extension"][0]])
def test_every_cut(data: bytes) -> None:
    """A cut message is incomplete wherever it is cut, never bad; both halves together are whole."""
    for at in range(len(data)):
        assert decode([data[:at]]) == twin(data[:at]) == "more"
        assert decode([data[:at], data[at:]]) == twin(data)


def test_a_broken_stream_stays_broken() -> None:
    decoder = ChunkedDecoder()
    with pytest.raises(HeadError):
        decoder.feed(b"x")
    with pytest.raises(HeadError):
        decoder.feed(LAST)


def test_data_is_handed_out_as_it_comes() -> None:
    decoder = ChunkedDecoder()
    assert decoder.feed(b"ffffffff\r\nab") == [b"ab"]
    assert decoder.feed(b"cd") == [b"cd"]
    assert not decoder.done


PIECES = st.sampled_from(
    [
        b"0",
        b"1",
        b"5",
        b"a",
        b"F",
        b"\r\n",
        b"\r\n",
        b"\r\n",
        b"\n",
        b"\r",
        b";",
        b" ",
        b"x=y",
        b"hello",
        b"A: b",
        LAST,
    ]
)


@settings(max_examples=500, deadline=None)
@given(data=st.lists(st.one_of(PIECES, st.binary(max_size=3)), max_size=14).map(b"".join))
def test_any_stream_as_its_twin(data: bytes) -> None:
    assert decode([data]) == decode(in_bytes(data)) == twin(data)


@settings(max_examples=200, deadline=None)
@given(
    parts=st.lists(st.binary(min_size=1, max_size=300), max_size=8),
    cuts=st.lists(st.integers(0, 400), max_size=8),
    behind=st.binary(max_size=20),
)
def test_what_was_framed_comes_back(parts: list[bytes], cuts: list[int], behind: bytes) -> None:
    data = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + LAST + behind
    pieces, at = [], 0
    for cut in cuts:
        pieces.append(data[at : at + cut])
        at += cut
    assert decode([*pieces, data[at:]]) == (b"".join(parts), behind)
