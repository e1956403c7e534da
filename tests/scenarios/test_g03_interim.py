"""Interim responses reach whoever waits and are not stored (RFC 9110 §15.2, RFC 8297)."""

from __future__ import annotations

import pytest

from tests.harness import Origin, RawClient, Reply, Request, Signal, fresh, reply, site
from tests.harness.client import request_bytes
from tests.harness.proxy import Proxy, is_hit, ours
from tests.harness.sync import eventually
from tests.harness.wire import Response

HINTS = [("Link", "</style.css>; rel=preload"), ("X-A", "1"), ("Link", "</b.js>; rel=preload")]


def hinting(*interim: int, then: Reply) -> Origin:
    def rule(request: Request) -> Reply:
        for status in interim:
            request.conn.head(status, HINTS if status == 103 else [])
        return then

    return Origin(rule)


def hints(response: Response) -> list[tuple[int, list[tuple[str, str]]]]:
    return [(interim.status, list(interim.fields)) for interim in response.interim]


@pytest.mark.parametrize("then", [fresh(60), reply(200, {"Cache-Control": "no-store"}, b"x")])
def test_a_miss_passes_them_on_as_they_came(then: Reply) -> None:
    with hinting(102, 103, 103, then=then) as origin, Proxy(site(origin)) as proxy:
        answer = proxy.get("/a")
        assert hints(answer) == [(102, []), (103, HINTS), (103, HINTS)]
        assert (answer.status, answer.body) == (200, then.body)


def test_they_are_not_stored() -> None:
    with hinting(102, 103, then=fresh(60)) as origin, Proxy(site(origin)) as proxy:
        proxy.get("/a")
        for fields in ({}, {"If-None-Match": '"x"'}, {"Range": "bytes=0-1"}):
            answer = proxy.get("/a", fields)
            assert is_hit(answer)
            assert answer.interim == []
            assert answer["link"] is None
            assert answer["x-a"] is None
        assert origin.count() == 1


def test_one_of_an_unknown_status_goes_on_too() -> None:
    with hinting(199, then=fresh(60)) as origin, Proxy(site(origin)) as proxy:
        assert hints(proxy.get("/a")) == [(199, [])]


def test_those_of_a_validation_go_on_and_a_later_hit_has_none() -> None:
    def rule(request: Request) -> Reply:
        request.conn.head(103, HINTS)
        if request["if-none-match"]:
            return reply(304, {"ETag": '"1"', "Cache-Control": "max-age=60"})
        return fresh(60, etag='"1"')

    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        proxy.get("/a")
        proxy.advance(61)
        answer = proxy.get("/a")
        assert hints(answer) == [(103, HINTS)]
        assert ours(answer).get("fwd") == "stale"
        later = proxy.get("/a")
        assert is_hit(later)
        assert later.interim == []


def test_fields_of_the_connection_stay_here() -> None:
    def rule(request: Request) -> Reply:
        request.conn.head(103, {"Connection": "x-hop", "X-Hop": "1", "Keep-Alive": "timeout=1", "X-End": "2"})
        return fresh(60)

    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        assert hints(proxy.get("/a")) == [(103, [("X-End", "2")])]


def test_clients_of_http_1_0_get_none() -> None:
    with hinting(102, 103, then=fresh(60)) as origin, Proxy(site(origin)) as proxy:
        client = proxy.client()
        client.send(request_bytes("GET", "/a", version="HTTP/1.0"))
        assert client.read_response().interim == []


def waiting_clients(
    proxy: Proxy, origin: Origin, count: int, fields: list[tuple[str, str]]
) -> list[RawClient]:
    """The leader first: its request is at the origin before the others ask."""
    clients = [proxy.client() for _ in range(count)]
    clients[0].request("GET", "/a", fields)
    origin.wait_for(1)
    for client in clients[1:]:
        client.request("GET", "/a")
    proxy.settle()
    return clients


def test_all_who_wait_get_them_at_once() -> None:
    early, final = Signal("the first wait"), Signal("all have the hints")

    def rule(request: Request) -> Reply:
        request.conn.hold(early)
        request.conn.head(103, [*HINTS, ("Set-Cookie", "a=1")])
        request.conn.hold(final)
        return fresh(60)

    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        clients = waiting_clients(proxy, origin, 4, [])
        early.set()
        assert clients[0].wire.line("interim").startswith(b"HTTP/1.1 103 ")
        assert [clients[0].wire.line("field") for _ in range(5)][3:] == [b"Set-Cookie: a=1", b""]
        for client in clients[1:]:  # before there is any final response
            assert client.wire.line("interim").startswith(b"HTTP/1.1 103 ")
            lines = [client.wire.line("field") for _ in range(4)]
            assert lines == [f"{name}: {value}".encode() for name, value in HINTS] + [b""]
        joins = proxy.client()
        joins.request("GET", "/a")
        proxy.settle()
        final.set()
        answer = joins.read_response()
        assert hints(answer) == [(103, HINTS)]
        assert "collapsed" in ours(answer)
        assert [client.read_response().body for client in clients] == [b"body"] * 4
        assert origin.count() == 1


@pytest.mark.parametrize("field", [("Cookie", "id=alice"), ("Authorization", "Basic YTpi")])
def test_hints_for_one_person_reach_nobody_else(field: tuple[str, str]) -> None:
    waiting = Signal("all wait")

    def rule(request: Request) -> Reply:
        if request[field[0].lower()] is None:
            return reply(200, {"Cache-Control": "no-store"}, b"yours")
        request.conn.hold(waiting)
        request.conn.head(102, {"X-For": "alice"})
        request.conn.head(103, {"Link": "</alice.css>; rel=preload"})
        return reply(200, {"Cache-Control": "private"}, b"alice")

    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        leader, *others = waiting_clients(proxy, origin, 3, [field])
        waiting.set()
        assert [status for status, _ in hints(leader.read_response())] == [102, 103]
        for client in others:
            answer = client.read_response()
            assert hints(answer) == [(102, [])]
            assert answer.body == b"yours"


def test_one_who_left_does_not_keep_the_others_from_them() -> None:
    waiting, left = Signal("all wait"), Signal("two have left")

    def rule(request: Request) -> Reply:
        request.conn.hold(waiting)
        request.conn.head(103, HINTS)
        request.conn.hold(left)
        request.conn.head(103, HINTS)
        return fresh(60)

    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        clients = waiting_clients(proxy, origin, 4, [])
        waiting.set()
        for client in clients:
            assert client.wire.line("interim").startswith(b"HTTP/1.1 103 ")
        for client in clients[:2]:
            client.reset()
        eventually(lambda: proxy.stats()["connections"]["open"] <= 3, "the two to be gone")
        left.set()
        for client in clients[2:]:
            while client.wire.line("the rest of the hint"):
                pass
            answer = client.read_response()
            assert [status for status, _ in hints(answer)] == [103]
            assert answer.body == b"body"
        assert is_hit(proxy.get("/a"))
