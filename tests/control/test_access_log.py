"""The lines of the access log: exact for the ordinary, one bounded line for whatever a client sends."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from cdn.control.access_log import LINE, AccessLogWriter, format_combined, format_json
from cdn.proxy.log_entry import LogEntry

ORDINARY = LogEntry(
    time=1_769_860_800_123,
    request_id="r-1",
    client="192.0.2.1",
    method="GET",
    host="www.example.com",
    target="/a?b=c",
    protocol="HTTP/1.1",
    status=200,
    bytes_sent=1234,
    outcome="miss",
    duration_us=5120,
    key_hash="0f3a",
    origin="http://10.0.0.1:80",
    origin_first_byte_us=4800,
    user_agent="curl/8",
)

texts = st.one_of(
    st.text(st.characters(max_codepoint=255), max_size=60),
    st.text(st.sampled_from('\\"\x00\r\n\x7f\xff '), max_size=9000),
    st.builds(lambda n: "a" * n, st.integers(0, 9000)),
)
entries = st.builds(
    LogEntry,
    time=st.integers(0, 1 << 42),
    request_id=texts,
    client=texts,
    method=texts,
    host=texts,
    target=texts,
    protocol=texts,
    status=st.integers(0, 999),
    bytes_sent=st.integers(0, 1 << 62),
    outcome=texts,
    duration_us=st.integers(0, 1 << 50),
    no_store=st.none() | texts,
    key_hash=st.none() | texts,
    origin=st.none() | texts,
    origin_first_byte_us=st.none() | st.integers(0, 1 << 50),
    referer=st.none() | texts,
    user_agent=st.none() | texts,
)


def test_json_of_an_ordinary_request() -> None:
    assert format_json(ORDINARY) == (
        b'{"time":"2026-01-31T12:00:00.123Z","id":"r-1","client":"192.0.2.1","method":"GET",'
        b'"host":"www.example.com","target":"/a?b=c","protocol":"HTTP/1.1","status":200,"bytes":1234,'
        b'"outcome":"miss","no_store":null,"key":"0f3a","duration_us":5120,"origin":"http://10.0.0.1:80",'
        b'"origin_first_byte_us":4800,"referer":null,"user_agent":"curl/8"}\n'
    )


def test_combined_of_an_ordinary_request() -> None:
    assert format_combined(ORDINARY) == (
        b'192.0.2.1 - - [31/Jan/2026:12:00:00 +0000] "GET /a?b=c HTTP/1.1" 200 1234 "-" "curl/8"'
        b" miss 0f3a 5120\n"
    )


@settings(max_examples=200)
@given(entries)
def test_json_is_one_bounded_line_that_parses(entry: LogEntry) -> None:
    line = format_json(entry)
    assert len(line) <= LINE
    assert line.endswith(b"}\n")
    assert not re.search(rb"[^ -~]", line[:-1])
    parsed = json.loads(line)
    assert parsed["status"] == entry.status
    assert len(parsed) == len(dataclasses.fields(entry))
    if entry.user_agent is None:
        assert parsed["user_agent"] is None
    elif len(entry.user_agent) <= 80:
        assert parsed["user_agent"] == entry.user_agent


@settings(max_examples=200)
@given(entries)
def test_combined_is_one_bounded_line_of_the_same_parts(entry: LogEntry) -> None:
    line = format_combined(entry)
    assert len(line) <= LINE
    assert not re.search(rb"[^ -~]", line[:-1])
    assert line.count(b'"') == 6
    shape = rb'\S+ - - \[[^]]+\] "[^"]*" \d+ \d+ "[^"]*" "[^"]*" \S+ \S+ \d+\n'
    assert re.fullmatch(shape, line), line


def test_the_longest_line_of_both_forms_fits() -> None:
    big = 10**18
    longest = LogEntry(
        big // 10**6, *(["\x00" * 9000] * 6), 999, big, "\x00" * 99, big, *(["\x00" * 9000] * 3), big,
        *(["\x00" * 9000] * 2),
    )  # fmt: skip
    assert 3000 < len(format_json(longest)) <= LINE
    assert len(format_combined(longest)) <= LINE


def test_a_cut_text_ends_in_dots_and_in_no_half_escape() -> None:
    for length in range(1400, 1600):
        entry = dataclasses.replace(ORDINARY, target="/" + "a" * length + '"' * 200)
        target = json.loads(format_json(entry))["target"]
        assert target.endswith("...")
        assert set(target[:-3]) <= {"/", "a", '"'}


def test_the_day_is_in_english_and_utc() -> None:
    entry = dataclasses.replace(ORDINARY, time=1_772_323_199_999)
    assert b"[28/Feb/2026:23:59:59 +0000]" in format_combined(entry)
    assert b'"2026-02-28T23:59:59.999Z"' in format_json(entry)


def test_the_writer_takes_lines_and_entries(tmp_path: Path) -> None:
    target = tmp_path / "access.log"
    writer = AccessLogWriter(str(target), "combined")
    assert writer.format == "combined"
    assert writer.write(b"a ready line\n")
    assert writer.entry(ORDINARY)
    assert writer.close()
    assert target.read_bytes() == b"a ready line\n" + format_combined(ORDINARY)
    assert writer.counters()["dropped"] == 0
