"""The head scanner against its plain twin: each case whole, at every prefix, in bytes, with more behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdn._core import (
    FIELD_IDS,
    SCAN_ERRORS,
    HeadError,
    HeadScanner,
    field_id,
    scan_request_head,
    scan_response_head,
)
from tests.core import oracle_head
from tests.core.cases_head import HOST, REQUESTS, RESPONSES, SMUGGLING, get

Verdict = tuple[str, Any]
TABLE = [
    *((False, name, *case) for name, case in (REQUESTS | SMUGGLING).items()),
    *((True, name, *case) for name, case in RESPONSES.items()),
]
each_case = pytest.mark.parametrize(
    ("response", "data", "fault"), [row[:1] + row[2:] for row in TABLE], ids=[row[1] for row in TABLE]
)


def verdict(call: Callable[[], Any]) -> Verdict:
    """("head", view as a tuple), ("more", None) or ("fault", (status, name))."""
    try:
        view = call()
    except (HeadError, oracle_head.FaultError) as fault:
        return "fault", (fault.status, fault.name)
    return ("more", None) if view is None else ("head", tuple(view))


def scan(data: bytes, response: bool, *limits: int) -> Verdict:
    return verdict(lambda: (scan_response_head if response else scan_request_head)(data, *limits))


def twin(data: bytes, response: bool, *limits: int) -> Verdict:
    return verdict(
        lambda: (oracle_head.scan_response if response else oracle_head.scan_request)(data, *limits)
    )


def fed(pieces: list[bytes], response: bool, *limits: int) -> Verdict:
    """The verdict of a scanner that keeps its place between pieces; it stops at the first that is final."""
    scanner = HeadScanner(response, *limits)
    last: Verdict = ("more", None)
    for piece in pieces:
        last = verdict(lambda piece=piece: scanner.feed(piece))  # type: ignore[misc]
        if last[0] != "more":
            break
    return last


def in_bytes(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


@each_case
def test_whole(response: bool, data: bytes, fault: str | None) -> None:
    kind, value = scan(data, response)
    assert (kind, value[1] if kind == "fault" else None) == (("fault", fault) if fault else ("head", None))
    assert (kind, value) == twin(data, response)


@each_case
def test_every_prefix(response: bool, data: bytes, fault: str | None) -> None:
    scanner = HeadScanner(response)
    final = False
    for end in range(1, len(data) + 1):
        expected = twin(data[:end], response)
        assert scan(data[:end], response) == expected
        if not final:
            assert verdict(lambda end=end: scanner.feed(data[end - 1 : end])) == expected  # type: ignore[misc]
        final = final or expected[0] != "more"
    assert final


@each_case
def test_with_more_behind(response: bool, data: bytes, fault: str | None) -> None:
    alone = scan(data, response)
    for behind in (b"x", b"\r\n", b"\0", data, b"GET / HTTP/1.1\r\n", b" " * 40):
        assert scan(data + behind, response) == alone
        assert fed([data[:9], data[9:] + behind], response) == alone


def test_view() -> None:
    data = get(b"X-a:  b \r\n", b"Connection: Upgrade, close\r\n", target=b"/p?q")
    view = scan_request_head(data + b"body")
    assert view is not None
    assert view.method == "GET"
    assert view.target == b"/p?q"
    assert view.minor == 1
    assert view.fields == [("Host", "a.test"), ("X-a", "b"), ("Connection", "Upgrade, close")]
    assert (view.content_length, view.chunked) == (None, False)
    assert (view.close, view.keep_alive, view.upgrade) == (True, False, True)
    assert view.length == len(data)


@pytest.mark.parametrize("response", [False, True])
def test_budget(response: bool) -> None:
    """A head of exactly the budget is taken, one byte more refused, whole and dripped; a request fault tells
    whether the request line was still open."""
    first = b"HTTP/1.1 200 OK\r\n" if response else b"GET /0123456789 HTTP/1.1\r\n"
    data = first + HOST + b"X: " + b"v" * 90 + b"\r\n\r\n"
    for limit in range(1, len(data) + 2):
        expected: Verdict = ("fault", (431, "head-too-large"))
        if limit >= len(data):
            expected = ("head", scan(data, response)[1])
        elif limit < len(first) and not response:
            expected = ("fault", (414, "target-too-long"))
        for input_ in (data, data + b"more"):
            assert scan(input_, response, limit) == expected == twin(input_, response, limit)
            assert fed(in_bytes(input_), response, limit) == expected


def test_fault_inside_the_budget_comes_first() -> None:
    assert scan(b"GET / HTTP/1.1\r\nX : y\r\n" + b"A" * 100, False, 60) == ("fault", (400, "field-name"))


@pytest.mark.parametrize("response", [False, True])
def test_field_count(response: bool) -> None:
    first = b"HTTP/1.1 200 OK\r\n" if response else b"GET / HTTP/1.1\r\n"
    for count, most in ((4, 4), (5, 4), (256, 256), (257, 256), (257, 1000), (1, 0)):
        data = first + HOST + b"X: y\r\n" * (count - 1) + b"\r\n"
        expected = "head" if count <= min(most, 256) else "fault"
        assert scan(data, response, 65536, most)[0] == expected
        assert fed(in_bytes(data), response, 65536, most) == scan(data, response, 65536, most)
        if expected == "fault":
            assert scan(data, response, 65536, most)[1] == (431, "too-many-fields")


def test_a_head_larger_than_offsets_can_say() -> None:
    data = b"GET /" + b"a" * (1 << 21) + b" HTTP/1.1\r\n" + HOST + b"\r\n"
    assert scan(data, False, 1 << 30) == ("fault", (414, "target-too-long"))
    half = b"GET /" + b"a" * (1 << 20) + b" HTTP/1.1\r\n" + HOST + b"\r\n"
    assert scan(half, False, 1 << 30)[0] == "head"
    assert fed([half[at : at + 9999] for at in range(0, len(half), 9999)], False, 1 << 30)[0] == "head"


@pytest.mark.parametrize("shape", ["target", "name", "value", "white space", "method", "many lines"])
def test_a_long_head_byte_by_byte(shape: str) -> None:
    """Each byte is looked at a bounded number of times: 32 KiB one by one ends within the test's time."""
    size = 32_000
    data = {
        "target": get(target=b"/" + b"a" * size),
        "name": get(b"n" * size + b": v\r\n"),
        "value": get(b"n: " + b"v" * size + b"\r\n"),
        "white space": get(b"n:" + b"\t " * (size // 2) + b"\r\n"),
        "method": b"M" * size + b" / HTTP/1.1\r\n" + HOST + b"\r\n",
        "many lines": get(*[b"n: " + b"v" * 240 + b"\r\n"] * 127),
    }[shape]
    assert fed(in_bytes(data), False, 40_000) == scan(data, False, 40_000)
    assert scan(data, False, 40_000)[0] == "head"


def test_known_names_in_any_case_and_no_other_token() -> None:
    assert sorted(FIELD_IDS.values()) == list(range(1, len(FIELD_IDS) + 1))
    for name, number in FIELD_IDS.items():
        for spelling in (name, name.upper(), name.title(), name.swapcase()):
            assert field_id(spelling) == number
        for at in range(len(name)):
            for byte in (*range(0x21, 0x7F), 0xFF):
                near = name[:at] + bytes([byte]) + name[at + 1 :]
                if byte in oracle_head.TCHAR:
                    assert field_id(near) == FIELD_IDS.get(near.lower(), 0)
        for other in (name[1:], name[:-1], name + b"s", b"x" + name):
            assert field_id(other) == FIELD_IDS.get(other, 0)
    assert field_id(b"") == field_id(b"x" * 300) == 0


def test_fault_names_are_a_closed_set() -> None:
    assert len(SCAN_ERRORS) >= 20
    assert set(SCAN_ERRORS.values()) <= {400, 414, 431, 501, 505}
    for _, _, _, fault in TABLE:
        assert fault is None or fault in SCAN_ERRORS


NAMES = st.sampled_from(
    [
        b"Host",
        b"content-length",
        b"Content-Length",
        b"Transfer-Encoding",
        b"Connection",
        b"X",
        b"a-b",
        b"X y",
        b"",
    ]
)
VALUES = st.one_of(
    st.sampled_from([b"5", b"6", b"chunked", b"close", b"a", b" 5 ", b"keep-alive, x", b"5,5", b""]),
    st.binary(max_size=24),
    st.text("abc ,\t:", max_size=24).map(str.encode),
)
ENDS = st.sampled_from([b"\r\n"] * 12 + [b"\n", b"\r", b"\r\r\n", b""])
LINES = st.tuples(NAMES, st.sampled_from([b": ", b":", b" :", b":\t"]), VALUES, ENDS).map(b"".join)
STARTS = st.sampled_from(
    [b"GET / HTTP/1.1\r\n"] * 4
    + [b"HTTP/1.1 200 OK\r\n"] * 4
    + [
        b"\r\nPOST /a?b HTTP/1.0\r\n",
        b"HTTP/1.0 204\r\n",
        b"GET /",
        b"HTTP/1.1 2",
        b"GET / HTTP/1.1\n",
        b"A B C\r\n",
    ]
)
HEADS = st.tuples(
    st.one_of(STARTS, st.binary(max_size=30)),
    st.sampled_from([b"", HOST]),
    st.lists(LINES, max_size=6).map(b"".join),
    st.sampled_from([b"\r\n", b"\r\n", b"\n", b"", b"\r\nGET / HTTP/1.1\r\n"]),
).map(b"".join)


@settings(max_examples=600, deadline=None)
@given(data=HEADS, response=st.booleans(), max_head=st.integers(1, 200), max_fields=st.integers(0, 5))
def test_any_head_as_its_twin(data: bytes, response: bool, max_head: int, max_fields: int) -> None:
    assert scan(data, response) == twin(data, response)
    assert scan(data, response, max_head, max_fields) == twin(data, response, max_head, max_fields)


@settings(max_examples=300, deadline=None)
@given(data=HEADS, response=st.booleans(), cuts=st.lists(st.integers(1, 40), min_size=1, max_size=20))
def test_any_cut(data: bytes, response: bool, cuts: list[int]) -> None:
    """However the bytes are cut, the first verdict that is final is that of all of them."""
    pieces, at = [], 0
    for cut in cuts:
        pieces.append(data[at : at + cut])
        at += cut
    pieces.append(data[at:])
    assert fed(pieces, response) == twin(data, response)
    assert fed(in_bytes(data), response) == twin(data, response)


@settings(max_examples=300, deadline=None)
@given(head=st.sampled_from([get(b"X: abc\r\n"), get(b"Connection: close\r\n")]), data=st.data())
def test_one_changed_byte(head: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(head) - 1))
    changed = head[:at] + bytes([data.draw(st.integers(0, 255))]) + head[at + 1 :]
    assert scan(changed, False) == twin(changed, False)
