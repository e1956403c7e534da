"""Conditional requests answered from the store (RFC 9110 §13), in the hit lane."""

from __future__ import annotations

import pytest

from tests.harness import FieldsLike, Origin, fresh, reply, site
from tests.harness.proxy import Proxy, is_hit

THEN = "Thu, 01 Jan 2015 00:00:00 GMT"
BEFORE = "Wed, 31 Dec 2014 23:59:59 GMT"
AFTER = "Fri, 02 Jan 2015 00:00:00 GMT"

CASES: dict[str, tuple[FieldsLike, int]] = {
    # If-None-Match compares weakly, lists and several lines are one list
    "same tag": ({"If-None-Match": '"1"'}, 304),
    "weak form of it": ({"If-None-Match": 'W/"1"'}, 304),
    "other tag": ({"If-None-Match": '"2"'}, 200),
    "in a list": ({"If-None-Match": '"0", "1" ,W/"2"'}, 304),
    "in the second line": ([("If-None-Match", '"0"'), ("If-None-Match", '"1"')], 304),
    "not in a list": ({"If-None-Match": '"0", "11"'}, 200),
    "a comma inside a tag": ({"If-None-Match": '"0,\\"1"'}, 200),
    "star": ({"If-None-Match": "*"}, 304),
    # If-Modified-Since, three date forms, ignored beside If-None-Match
    "same date": ({"If-Modified-Since": THEN}, 304),
    "later date": ({"If-Modified-Since": AFTER}, 304),
    "earlier date": ({"If-Modified-Since": BEFORE}, 200),
    "RFC 850 form": ({"If-Modified-Since": "Thursday, 01-Jan-15 00:00:00 GMT"}, 304),
    "asctime form": ({"If-Modified-Since": "Thu Jan  1 00:00:00 2015"}, 304),
    "no date": ({"If-Modified-Since": "yesterday"}, 200),
    "tag differs, date holds": ({"If-None-Match": '"2"', "If-Modified-Since": THEN}, 200),
    "tag holds, date does not": ({"If-None-Match": '"1"', "If-Modified-Since": BEFORE}, 304),
    # ranges do not matter to a 304
    "with a range": ({"If-None-Match": '"1"', "Range": "bytes=0-0"}, 304),
}


@pytest.mark.parametrize(("fields", "status"), CASES.values(), ids=CASES)
def test_condition(fields: FieldsLike, status: int) -> None:
    answer = fresh(
        60, b"hello", etag='"1"', last_modified=THEN, content_location="/a", expires=AFTER, x_other="x"
    )
    with Origin(answer) as origin, Proxy(site(origin)) as proxy:
        proxy.get("/a")
        proxy.advance(5)
        plain = isinstance(fields, dict)  # one condition in several lines is left to the exchange
        with proxy.outcomes(hit=1), proxy.lanes(hit=int(plain)), proxy.client() as client:
            got = client.get("/a", fields)
            client.expect_open()
        assert got.status == status
        assert got.body == (b"hello" if status == 200 else b"")
        assert is_hit(got)
        assert got["age"] == "5"
        assert got["etag"] == '"1"'
        assert got["content-location"] == "/a"
        assert got["cache-control"] == "max-age=60"
        assert "date" in got
        if status == 304:
            assert got["content-length"] is None
        assert origin.count() == 1


def test_a_condition_on_head() -> None:
    with Origin(fresh(60, b"hello", etag='"1"')) as origin, Proxy(site(origin)) as proxy:
        proxy.get("/a")
        assert proxy.ask("HEAD", "/a", {"If-None-Match": '"1"'}).status == 304
        assert proxy.ask("HEAD", "/a", {"If-None-Match": '"2"'}).status == 200
        assert origin.count() == 1


def test_a_date_without_last_modified_is_not_guessed() -> None:
    with Origin(fresh(60, b"hello")) as origin, Proxy(site(origin)) as proxy:
        proxy.get("/a")
        assert proxy.get("/a", {"If-None-Match": '"1"'}).status == 200
        assert proxy.get("/a", {"If-Modified-Since": THEN}).status == 200
        assert origin.count() == 1


def test_a_stored_error_is_not_turned_into_a_304() -> None:
    fields = {"Cache-Control": "max-age=60", "ETag": '"1"'}
    with Origin(reply(404, fields, b"gone")) as origin, Proxy(site(origin)) as proxy:
        for _ in range(2):
            assert proxy.get("/a", {"If-None-Match": '"1"'}).status == 404


BARE: dict[str, tuple[str, str, int]] = {
    # stored ETag, If-None-Match, status
    "repeated": ("abc", "abc", 304),
    "in a list": ("abc", '"x", abc ,y', 304),
    "with a mark": ("W/abc", "W/abc", 304),
    "quoted by the client": ("abc", '"abc"', 200),
    "quoted by the origin": ('"abc"', "abc", 200),
    "longer": ("abc", "abcd", 200),
    "shorter": ("abc", "ab", 200),
    "behind a stray quote": ("abc", '", abc', 200),
    "of two words": ("a b", "a b", 200),
    "star": ("abc", "*", 304),
}


@pytest.mark.parametrize(("etag", "condition", "status"), BARE.values(), ids=BARE)
def test_a_tag_without_quotes_in_both_lanes(etag: str, condition: str, status: int) -> None:
    with Origin(fresh(60, b"hello", etag=etag)) as origin, Proxy(site(origin)) as proxy:
        proxy.get("/a")
        answers = []
        for enabled in (True, False):
            proxy._worker.lane.enabled = enabled
            with proxy.lanes(hit=int(enabled), general=int(not enabled)):
                answers.append(proxy.get("/a", {"If-None-Match": condition}))
        assert [answer.status for answer in answers] == [status, status]
        assert answers[0].raw == answers[1].raw
        assert answers[0].body == answers[1].body
        assert origin.count() == 1
