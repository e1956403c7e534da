"""Ranges of a complete response (RFC 9110 §14, §15.3.7)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdn.rules.norms import MAX_RANGES
from cdn.rules.ranges import UNSATISFIABLE, coalesce, multipart, select, unsatisfied_range
from tests.rules.make import request, stored

RECORD = stored("Cache-Control: max-age=60", 'ETag: "a"', "Content-Type: text/plain")

# (Range, length, what is sent)
CASES = [
    ("bytes=0-0", 100, [(0, 0)]),
    ("bytes=0-99", 100, [(0, 99)]),
    ("bytes=0-100", 100, [(0, 99)]),
    ("bytes=0-", 100, [(0, 99)]),
    ("bytes=50-", 100, [(50, 99)]),
    ("bytes=99-", 100, [(99, 99)]),
    ("bytes=-1", 100, [(99, 99)]),
    ("bytes=-100", 100, [(0, 99)]),
    ("bytes=-999", 100, [(0, 99)]),
    ("BYTES=0-1", 100, [(0, 1)]),
    ("bytes= 0-1", 100, [(0, 1)]),
    ("bytes=,0-1,", 100, [(0, 1)]),
    ("bytes=0-99999999999999999999999", 100, [(0, 99)]),
    ("bytes=100-", 100, UNSATISFIABLE),
    ("bytes=100-200", 100, UNSATISFIABLE),
    ("bytes=-0", 100, UNSATISFIABLE),
    ("bytes=100-,200-", 100, UNSATISFIABLE),
    ("bytes=99999999999999999999999-", 100, UNSATISFIABLE),
    ("bytes=0-", 0, UNSATISFIABLE),
    ("bytes=-5", 0, None),
    ("bytes=5-4", 100, None),
    ("bytes=a-b", 100, None),
    ("bytes=", 100, None),
    ("bytes=-", 100, None),
    ("bytes", 100, None),
    ("bytes=1", 100, None),
    ("bytes=1-2-3", 100, None),
    ("bytes=1-2;3-4", 100, None),
    ("bytes=+1-2", 100, None),
    ("items=0-1", 100, None),
    ("", 100, None),
    ("bytes=0-1,100-", 100, [(0, 1)]),
    ("bytes=0-1,1-2", 100, [(0, 2)]),
    ("bytes=0-1,2-3", 100, [(0, 3)]),
    ("bytes=0-50,10-20", 100, [(0, 50)]),
    ("bytes=0-,0-,0-", 100, [(0, 99)]),
    ("bytes=0-1,5-6", 100, None),
    ("bytes=0-1,5-6", 10_000, [(0, 1), (5, 6)]),
    ("bytes=5-6,0-1", 10_000, [(5, 6), (0, 1)]),
    ("bytes=50-60,0-1,55-70", 10_000, [(0, 1), (50, 70)]),
    ("bytes=0-1,-2", 10_000, [(0, 1), (9_998, 9_999)]),
    ("bytes=0-4000,4002-9999", 10_000, None),
    ("bytes=" + ",".join(f"{i * 9}-{i * 9}" for i in range(MAX_RANGES)), 10_000_000,
     [(i * 9, i * 9) for i in range(MAX_RANGES)]),
    ("bytes=" + ",".join(f"{i * 9}-{i * 9}" for i in range(MAX_RANGES + 1)), 10_000_000, None),
    ("bytes=" + ",".join(["0-"] * 1000), 10_000_000, None),
]  # fmt: skip


@pytest.mark.parametrize(("value", "length", "sent"), CASES)
def test_select(value, length, sent):
    assert select(request(f"Range: {value}"), RECORD, length) == sent


@pytest.mark.parametrize(
    ("asked", "record", "length"),
    [
        (request("Range: bytes=0-1", method="HEAD"), RECORD, 100),
        (request("Range: bytes=0-1", method="POST"), RECORD, 100),
        (request("Range: bytes=0-1", "Range: bytes=0-1"), RECORD, 100),
        (request("Range: bytes=0-1", 'If-Range: "b"'), RECORD, 100),
        (request("Range: bytes=500-", 'If-Range: "b"'), RECORD, 100),
        (request("Range: bytes=0-1"), stored("Cache-Control: max-age=60", status=404), 100),
        (request("Range: bytes=0-1"), stored("Cache-Control: max-age=60", status=203), 100),
        (request("Range: bytes=0-1"), RECORD, -1),
        (request(), RECORD, 100),
    ],
)
def test_when_a_range_does_not_count(asked, record, length):
    assert select(asked, record, length) is None


def test_if_range_lets_it_count():
    assert select(request("Range: bytes=0-1", 'If-Range: "a"'), RECORD, 100) == [(0, 1)]


def _expand(made, body: bytes) -> bytes:
    return b"".join(
        piece if isinstance(piece, bytes) else body[piece[0] : piece[1] + 1] for piece in made.pieces
    )


def test_multipart():
    body = bytes(range(256)) * 40
    made = multipart([(5, 9), (0, 0)], len(body), RECORD)
    boundary = made.content_type.removeprefix("multipart/byteranges; boundary=")
    part = f"--{boundary}\r\nContent-Type: text/plain\r\nContent-Range: bytes %s/10240\r\n\r\n"
    text = (part % "5-9").encode() + body[5:10] + b"\r\n" + (part % "0-0").encode() + body[:1]
    text += f"\r\n--{boundary}--\r\n".encode()
    assert _expand(made, body) == text
    assert made.length == len(text)


def test_a_part_has_no_type_where_the_whole_has_none():
    made = multipart([(0, 0), (5, 5)], 100, stored("Cache-Control: max-age=60"))
    assert b"Content-Type" not in _expand(made, bytes(100))


def test_the_boundary_is_the_same_for_the_same_answer_only():
    one, same = multipart([(0, 0), (5, 5)], 100, RECORD), multipart([(0, 0), (5, 5)], 100, RECORD)
    assert one == same
    assert multipart([(0, 0), (6, 6)], 100, RECORD).content_type != one.content_type


@given(
    st.lists(
        st.tuples(st.integers(0, 2000), st.integers(0, 2000)).map(lambda p: (min(p), max(p))),
        min_size=1,
        max_size=20,
    )
)
@settings(max_examples=300, deadline=None)
def test_coalescing_covers_the_same_bytes_once(ranges):
    made = coalesce(ranges)
    wanted = {at for first, last in ranges for at in range(first, last + 1)}
    sent = [at for first, last in made for at in range(first, last + 1)]
    assert len(sent) == len(set(sent))
    assert set(sent) == wanted


@given(st.text(alphabet="bytes=0123456789-,- ", max_size=60), st.integers(0, 3000))
@settings(max_examples=400, deadline=None)
def test_never_more_than_the_whole(value, length):
    made = select(request(f"Range: bytes={value}"), RECORD, length)
    if isinstance(made, list):
        total = sum(last - first + 1 for first, last in made)
        assert all(0 <= first <= last < length for first, last in made)
        assert (multipart(made, length, RECORD).length if len(made) > 1 else total) <= length


def test_unsatisfied_range():
    assert unsatisfied_range(47) == "bytes */47"
