"""Fields on their way through: what is added, what is replaced, what is kept (RFC 9110 §7.6, RFC 7239, RFC
9211)."""

from __future__ import annotations

import pytest

from tests.harness import Origin, fresh, reply, site
from tests.harness.proxy import Proxy, cache_status

FORGED = {
    "X-Forwarded-For": "203.0.113.9",
    "X-Forwarded-Host": "evil.test",
    "X-Forwarded-Proto": "https",
    "Forwarded": "for=203.0.113.9;host=evil.test;proto=https",
}


def test_via_both_ways() -> None:
    with Origin(fresh(60, via="1.1 inner")) as origin, Proxy(site(origin)) as proxy:
        for _ in range(2):
            assert proxy.get("/a", {"Via": "1.0 outer"})["via"] == "1.1 inner, 1.1 edge-1"
        assert origin.last["via"] == "1.0 outer, 1.1 edge-1"


def test_forwarding_fields_of_strangers_are_replaced() -> None:
    with Origin(reply(200)) as origin, Proxy(site(origin)) as proxy:
        proxy.get("/a", FORGED)
        seen = origin.last
        assert seen.all("x-forwarded-for") == ["127.0.0.1"]
        assert seen.all("x-forwarded-proto") == ["http"]
        assert seen["x-forwarded-host"] in (None, "site.test")
        assert "203.0.113.9" not in (seen["forwarded"] or "")
        assert "evil.test" not in seen.raw.decode()


def test_those_of_trusted_proxies_are_carried_on() -> None:
    with Origin(reply(200)) as origin, Proxy(site(origin, trusted_proxies=["127.0.0.0/8"])) as proxy:
        proxy.get("/a", FORGED)
        seen = origin.last
        assert seen["x-forwarded-for"] == "203.0.113.9, 127.0.0.1"
        assert seen["x-forwarded-proto"] == "https"
        assert "203.0.113.9" in (seen["forwarded"] or "for=203.0.113.9")


def test_ordinary_fields_pass_both_ways_in_order() -> None:
    out = [("X-One", "1"), ("x-two", "2"), ("X-One", "3"), ("Accept", "a/b"), ("User-Agent", "me/1")]
    back = [("Set-Cookie", "a=1"), ("X-B", "2"), ("set-cookie", "b=2"), ("X-A", "\xe9")]
    with Origin(reply(200, back)) as origin, Proxy(site(origin)) as proxy:
        answer = proxy.get("/a", out)
        names = {name.lower() for name, _ in out}
        assert [pair for pair in origin.last.fields if pair[0].lower() in names] == out
        names = {name.lower() for name, _ in back}
        assert [pair for pair in answer.fields if pair[0].lower() in names] == back


def test_nothing_is_invented() -> None:
    """No Accept, Accept-Encoding or User-Agent of our own."""
    with Origin(reply(200)) as origin, Proxy(site(origin)) as proxy:
        for method, body in (("GET", b""), ("POST", b"x")):
            proxy.ask(method, "/a", body=body)
            for name in ("accept", "accept-encoding", "user-agent", "content-type", "cookie", "range"):
                assert name not in origin.last, name


def test_date_is_added_only_when_missing() -> None:
    date = "Thu, 01 Jan 2015 00:00:00 GMT"
    with (
        Origin({"/with": fresh(1000, date=date), "/without": fresh(60)}) as origin,
        Proxy(site(origin)) as proxy,
    ):
        for _ in range(2):
            assert proxy.get("/with").all("date") == [date]
            assert len(proxy.get("/without").all("date")) == 1
        assert origin.count() >= 2


def test_cache_status_is_appended_behind_the_origins() -> None:
    with Origin(fresh(60, cache_status="inner; hit")) as origin, Proxy(site(origin)) as proxy:
        for _ in range(2):
            names = [name for name, _ in cache_status(proxy.get("/a"))]
            assert names == ["inner", "edge-1"]
        assert origin.count() == 1


def test_the_age_of_an_upstream_cache_passes() -> None:
    with (
        Origin(reply(200, {"Cache-Control": "no-store", "Age": "7"})) as origin,
        Proxy(site(origin)) as proxy,
    ):
        assert proxy.get("/a").all("age") == ["7"]
        assert origin.count() == 1


@pytest.mark.parametrize("sent", ["/a b", "/%7Ea/../b", "/a/./b?x=%41", "/%41%2f%c3%a9?q=a+b&c"])
def test_the_target_reaches_the_origin_in_its_normal_form(sent: str) -> None:
    expected = {
        "/%7Ea/../b": "/b",
        "/a/./b?x=%41": "/a/b?x=%41",
        "/%41%2f%c3%a9?q=a+b&c": "/A%2F%C3%A9?q=a+b&c",
    }
    with Origin(reply(200)) as origin, Proxy(site(origin)) as proxy:
        answer = proxy.get(sent)
        if sent in expected:
            assert origin.last.target == expected[sent]
        else:
            assert answer.status == 400


def test_absolute_form_is_read_as_its_parts() -> None:
    with Origin(fresh(60)) as origin, Proxy(site(origin)) as proxy:
        assert proxy.get("http://site.test/a?x=1").status == 200
        assert (origin.last.target, origin.last["host"]) == ("/a?x=1", "site.test")
        assert proxy.get("/a?x=1").status == 200
        assert origin.count() == 1
