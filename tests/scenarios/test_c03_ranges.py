"""Ranges of stored responses (RFC 9110 §14), in the hit lane as far as they are single."""

from __future__ import annotations

import re

import pytest

from tests.harness import FieldsLike, Origin, Reply, Request, fresh, reply, site
from tests.harness.proxy import Proxy, is_hit

BODY = b"0123456789"
THEN = "Thu, 01 Jan 2015 00:00:00 GMT"

SINGLE: dict[str, tuple[str, int, bytes, str | None]] = {
    # name: Range, status, body, Content-Range
    "first byte": ("bytes=0-0", 206, b"0", "bytes 0-0/10"),
    "middle": ("bytes=2-4", 206, b"234", "bytes 2-4/10"),
    "open": ("bytes=7-", 206, b"789", "bytes 7-9/10"),
    "beyond the end": ("bytes=8-99", 206, b"89", "bytes 8-9/10"),
    "suffix": ("bytes=-3", 206, b"789", "bytes 7-9/10"),
    "long suffix": ("bytes=-99", 206, BODY, "bytes 0-9/10"),
    "whole": ("bytes=0-9", 206, BODY, "bytes 0-9/10"),
    "behind the end": ("bytes=10-", 416, b"", "bytes */10"),
    "far behind": ("bytes=99999999999999999999-", 416, b"", "bytes */10"),
    "no suffix": ("bytes=-0", 416, b"", "bytes */10"),
    "backwards": ("bytes=5-2", 200, BODY, None),
    "other unit": ("lines=0-1", 200, BODY, None),
    "no number": ("bytes=a-b", 200, BODY, None),
    "nothing": ("bytes=", 200, BODY, None),
}


@pytest.mark.parametrize(("value", "status", "body", "where"), SINGLE.values(), ids=SINGLE)
def test_single(value: str, status: int, body: bytes, where: str | None) -> None:
    with Origin(fresh(60, BODY, etag='"1"')) as origin, Proxy(site(origin)) as proxy:
        proxy.get("/a")
        with proxy.client() as client:
            got = client.get("/a", {"Range": value})
            client.expect_open()
        assert (got.status, got["content-range"]) == (status, where)
        if status != 416:
            assert got.body == body
            assert got["content-length"] == str(len(body))
            assert is_hit(got)
        assert origin.count() == 1


def test_a_range_and_its_condition_stay_in_the_hit_lane() -> None:
    with Origin(fresh(60, BODY, etag='"1"')) as origin, Proxy(site(origin)) as proxy:
        proxy.get("/a")
        with proxy.lanes(hit=2):
            assert proxy.get("/a", {"Range": "bytes=1-2"}).body == b"12"
            assert proxy.get("/a", {"Range": "bytes=1-2", "If-Range": '"1"'}).status == 206


IF_RANGE: dict[str, tuple[str, int]] = {
    "same tag": ('"1"', 206),
    "other tag": ('"2"', 200),
    "weak tag": ('W/"1"', 200),
    "same date": (THEN, 206),
    "other date": ("Fri, 02 Jan 2015 00:00:00 GMT", 200),
    "earlier date": ("Wed, 31 Dec 2014 00:00:00 GMT", 200),
    "nonsense": ("x", 200),
}


@pytest.mark.parametrize(("value", "status"), IF_RANGE.values(), ids=IF_RANGE)
def test_if_range(value: str, status: int) -> None:
    with Origin(fresh(60, BODY, etag='"1"', last_modified=THEN)) as origin, Proxy(site(origin)) as proxy:
        proxy.get("/a")
        got = proxy.get("/a", {"Range": "bytes=2-4", "If-Range": value})
        assert (got.status, got.body) == (status, b"234" if status == 206 else BODY)
        assert origin.count() == 1


def test_head_and_ranges() -> None:
    """RFC 9110 §14.2: Range is defined for GET only."""
    with Origin(fresh(60, BODY)) as origin, Proxy(site(origin)) as proxy:
        proxy.get("/a")
        got = proxy.ask("HEAD", "/a", {"Range": "bytes=0-1"})
        assert (got.status, got["content-length"]) == (200, "10")


def test_several_ranges() -> None:
    answer = fresh(60, BODY, content_type="text/plain")
    with Origin(answer) as origin, Proxy(site(origin)) as proxy:
        proxy.get("/a")
        got = proxy.get("/a", {"Range": "bytes=0-1,5-6"})
        assert got.status in (200, 206)
        if got.status == 200:  # allowed: a server may ignore Range
            assert got.body == BODY
            return
        boundary = re.fullmatch(r"multipart/byteranges; ?boundary=\"?([^\"]+)\"?", got["content-type"] or "")
        assert boundary
        parts = got.body.split(b"--" + boundary[1].encode())
        assert [part.partition(b"\r\n\r\n")[2][:2] for part in parts[1:3]] == [b"01", b"56"]
        assert b"bytes 0-1/10" in parts[1]
        assert b"text/plain" in parts[1]
        assert parts[3].startswith(b"--")


def test_ranges_of_a_large_object() -> None:
    body = bytes(index % 251 for index in range(1_000_000))
    with Origin(fresh(60, body)) as origin, Proxy(site(origin)) as proxy:
        proxy.get("/a")
        with proxy.lanes(hit=4):
            for first, last in ((0, 0), (16383, 16384), (65530, 700_001), (999_999, 999_999)):
                got = proxy.get("/a", {"Range": f"bytes={first}-{last}"})
                assert got.body == body[first : last + 1]


def test_a_range_of_what_is_not_stored_reaches_the_client_right() -> None:
    def rule(request: Request) -> Reply:
        if request["range"] == "bytes=2-4":
            return reply(206, {"Cache-Control": "max-age=60", "Content-Range": "bytes 2-4/10"}, b"234")
        return fresh(60, BODY)

    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        got = proxy.get("/a", {"Range": "bytes=2-4"})
        assert (got.status, got.body) == (206, b"234")
        whole = proxy.get("/a")
        assert (whole.status, whole.body) == (200, BODY)


def test_a_206_nobody_asked_for_is_never_kept() -> None:
    fields: FieldsLike = {"Cache-Control": "max-age=60", "Content-Range": "bytes 2-4/10"}
    with Origin(reply(206, fields, b"234")) as origin, Proxy(site(origin)) as proxy:
        for _ in range(2):  # nobody asked for a range: passed on as it is, never kept
            proxy.get("/a")
        assert origin.count() == 2
