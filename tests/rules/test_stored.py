"""The stored form as bytes, and back."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdn.rules.freshness import LifetimeSource
from cdn.rules.stored import (
    MAX_SPECS,
    SOURCES,
    Flag,
    MetaError,
    Stored,
    decode,
    decode_vary_marker,
    encode_meta,
    encode_vary_marker,
    head_bytes,
    lines_304,
    parse_head,
)
from tests.rules.make import NOW, date, fields, stored


def again(record: Stored, meta: bytes | None = None, head: bytes | None = None) -> Stored:
    return decode(
        head=head_bytes(record) if head is None else head,
        meta=encode_meta(record) if meta is None else meta,
        born=record.born,
        fresh_until=record.fresh_until,
        swr_until=record.swr_until,
        sie_until=record.sie_until,
        response_time=record.response_time,
        body_length=record.body_length,
    )


def as_stored(record: Stored) -> Stored:
    return Stored(**{name: getattr(record, name) for name in Stored.__slots__})


RECORDS = [
    ("Cache-Control: max-age=60",),
    ("Cache-Control: max-age=60", 'ETag: "a"', "Vary: a, b"),
    ("Cache-Control: s-maxage=60, immutable, no-transform", 'ETag: W/"\xe9"', f"Last-Modified: {date(-5)}"),
    ("Cache-Control: no-cache", "ETag: unquoted", "A:", "B: \xff\x80"),
    (f"Last-Modified: {date(-5000)}",),
    (f"Expires: {date(60)}", "Age: 9"),
    ('ETag: "a"',),
]


@pytest.mark.parametrize("lines", RECORDS)
@pytest.mark.parametrize("status", [200, 404])
def test_a_record_comes_back_as_it_was(lines, status):
    record = replace(
        as_stored(stored(*lines, status=status, delay=1_234)), body_length=5, tags=("x", "\xe9" * 300, "")
    )
    assert again(record) == record


_TEXT = st.text(
    alphabet=st.characters(min_codepoint=0x20, max_codepoint=255, exclude_characters="\x7f"), max_size=20
)
_NAMES = st.text(alphabet="abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=20)


@given(
    pairs=st.lists(st.tuples(_NAMES, _TEXT.map(str.strip)), max_size=6),
    vary=st.lists(_NAMES, max_size=4),
    tags=st.lists(_TEXT, max_size=4),
    flags=st.integers(0, 31),
    date_s=st.integers(-(2**40), 2**40),
    delay=st.integers(0, 2**32 - 1),
    lifetime=st.integers(0, 2**42),
    source=st.sampled_from(SOURCES),
    reason=_TEXT.map(str.strip),
)
@settings(max_examples=150, deadline=None)
def test_any_record_comes_back(pairs, vary, tags, flags, date_s, delay, lifetime, source, reason):
    pairs = [(name, value) for name, value in pairs if name not in ("etag", "last-modified")]
    record = Stored(
        status=200,
        fields=fields(*[f"{n}: {v}" for n, v in pairs]),
        born=1,
        fresh_until=2,
        swr_until=3,
        sie_until=4,
        request_time=NOW - delay,
        response_time=NOW,
        date=date_s,
        reason=reason,
        vary=tuple(vary),
        flags=Flag(flags),
        lifetime=lifetime,
        lifetime_source=source,
        tags=tuple(tags),
    )
    assert again(record) == record


@given(st.binary(max_size=60))
@settings(max_examples=200, deadline=None)
def test_foreign_bytes_are_refused_or_read(meta):
    record = stored("Cache-Control: max-age=60")
    for call in (
        lambda: again(record, meta=meta),
        lambda: again(record, head=meta),
        lambda: decode_vary_marker(meta),
    ):
        try:
            call()
        except MetaError:
            pass


def test_every_cut_is_noticed():
    record = replace(as_stored(stored("Cache-Control: max-age=60", "Vary: a, bc")), tags=("x", "yz"))
    meta = encode_meta(record)
    for cut in range(len(meta)):
        with pytest.raises(MetaError):
            again(record, meta=meta[:cut])
    with pytest.raises(MetaError):
        again(record, meta=meta + b"\0")


@pytest.mark.parametrize(("at", "value"), [(0, 99), (2, 99), (2, len(SOURCES))])
def test_an_unknown_version_or_source_is_refused(at, value):
    record = stored("Cache-Control: max-age=60")
    meta = bytearray(encode_meta(record))
    meta[at] = value
    with pytest.raises(MetaError):
        again(record, meta=bytes(meta))


def test_meta_is_small():
    assert len(encode_meta(stored("Cache-Control: max-age=60", "Vary: accept-encoding"))) == 13


@pytest.mark.parametrize(
    "change",
    [
        {"lifetime": 1},
        {"lifetime": 2**40},
        {"date": 0},
        {"date": 2**40},
        {"request_time": 0},
        {"vary": ("x",)},
        {"vary": ()},
        {"tags": ("a",)},
    ],
)
def test_what_does_not_fit_is_written_wider(change):
    record = replace(as_stored(stored("Cache-Control: max-age=60", "Vary: B, a, b")), **change)
    if "request_time" in change:
        record = replace(record, request_time=record.response_time - 70_000)
    assert as_stored(again(record)) == record
    assert as_stored(again(record)).vary == change.get("vary", ("a", "b"))


def test_every_source_of_a_lifetime_has_its_place():
    assert set(SOURCES) == {source.value for source in LifetimeSource}


@pytest.mark.parametrize(
    "head", [b"", b"\r\n", b"HTTP/1.1 200 OK", b"HTTP/1.1 x OK\r\n", b"HTTP/1.1 200 OK\r\nA: b"]
)
def test_foreign_heads_are_refused(head):
    with pytest.raises(MetaError):
        parse_head(head)


def test_head_bytes():
    record = stored("Cache-Control: max-age=60", "b: 2", "B: 1", f"Date: {date(0)}", "Content-Length: 5")
    assert head_bytes(record) == (
        b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nb: 2\r\nB: 1\r\nDate: " + date(0).encode() + b"\r\n"
    )
    assert parse_head(head_bytes(record)) == (200, "OK", record.fields)


@pytest.mark.parametrize(
    ("line", "carried"),
    [
        # RFC 9110 §15.4.5
        ("Cache-Control: max-age=1", True),
        ("Content-Location: /x", True),
        (f"Date: {date(0)}", True),
        ('ETag: "a"', True),
        ("Expires: 0", True),
        ("Vary: A", True),
        ("Content-Type: a/b", False),
        ("Content-Encoding: gzip", False),
        ("Content-Language: en", False),
        ("Accept-Ranges: bytes", False),
        ("Content-MD5: x", False),
        ("Content-Range: x", False),
        ("Content-Digest: x", False),
        ("Content-Disposition: inline", False),
        ("Repr-Digest: x", False),
        ("Digest: x", False),
        (f"Last-Modified: {date(-9)}", False),
        ("Content-Security-Policy: x", True),
        ("Access-Control-Allow-Origin: *", True),
        ("X-Thing: 1", True),
    ],
)
def test_what_a_304_carries(line, carried):
    record = stored("Cache-Control: max-age=60", 'ETag: "a"', line, f"Date: {date(0)}")
    index = [f"{name}: {value}" for name, value in record.fields].index(line)
    assert bool(lines_304(replace(record, etag='"a"')) >> index & 1) is carried


def test_last_modified_is_carried_where_there_is_no_tag():
    record = stored("Cache-Control: max-age=60", f"Last-Modified: {date(-9)}")
    assert lines_304(record) == 0b111


def test_lines_beyond_the_64th_are_left_out_of_a_304():
    record = stored("Cache-Control: max-age=60", *[f"A: {i}" for i in range(100)])
    assert lines_304(record) == 2**64 - 1


@pytest.mark.parametrize(("after", "until"), [(0, 0), (10_000, 10_000), (60_000, 60_000), (70_000, 60_000)])
def test_what_has_ended_is_validated_before_any_use(after, until):
    record = stored("Cache-Control: max-age=60, stale-while-revalidate=60, stale-if-error=60").ended(
        NOW + after
    )
    assert [record.fresh_until, record.swr_until, record.sie_until] == [NOW + until] * 3


MARKERS = [
    [],
    [("accept",)],
    [("accept", "accept-encoding"), ("cookie",)],
    [()],
]


@pytest.mark.parametrize("specs", MARKERS)
def test_vary_markers(specs):
    assert list(decode_vary_marker(encode_vary_marker(specs))) == specs


def test_vary_markers_are_bounded_and_without_repeats():
    specs = [(f"a{i}",) for i in range(9)]
    assert list(decode_vary_marker(encode_vary_marker([specs[0], *specs]))) == specs[:MAX_SPECS]


def test_an_absurd_vary_is_refused():
    with pytest.raises(MetaError):
        encode_vary_marker([("x" * 256,)])


def test_ages_are_never_negative():
    record = stored("Cache-Control: max-age=60")
    assert [record.age(NOW + ms) for ms in (-5_000, 0, 999, 1_000, 60_500)] == [0, 0, 0, 1, 60]


def test_what_if_modified_since_is_compared_with():
    assert (
        stored("Cache-Control: max-age=60", f"Last-Modified: {date(-9)}").comparison_date == NOW // 1000 - 9
    )
    assert stored("Cache-Control: max-age=60", f"Date: {date(-3)}").comparison_date == NOW // 1000 - 3


def test_a_marker_of_another_version_is_refused():
    with pytest.raises(MetaError):
        decode_vary_marker(b"\x09" + encode_vary_marker([("a",)])[1:])


def test_the_longest_name_fits():
    specs = [("x" * 255, *(f"n{i}" for i in range(254)))]
    assert list(decode_vary_marker(encode_vary_marker(specs))) == specs
    with pytest.raises(MetaError):
        encode_vary_marker([tuple(f"n{i}" for i in range(256))])
