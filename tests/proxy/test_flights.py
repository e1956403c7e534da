"""Flights: purges and reloads while the origin has the request, bodies that cannot be kept, many who wait."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from cdn import config as cdn_config
from tests.harness import Conn, Origin, Reply, Request, Signal, fresh, reply, site, yaml_text
from tests.harness.proxy import Proxy, is_hit
from tests.harness.sync import eventually


def on_loop(proxy: Proxy, work: Callable[[Any], object]) -> None:
    async def run() -> None:
        work(proxy._worker)

    assert proxy._loop is not None
    asyncio.run_coroutine_threadsafe(run(), proxy._loop).result(5)


@pytest.mark.parametrize("vary", [None, "Accept-Encoding"])
@pytest.mark.parametrize("fields", [{}, {"Range": "bytes=0-1"}], ids=["plain", "range"])
def test_what_was_asked_for_before_a_purge_is_not_stored_after_it(
    vary: str | None, fields: dict[str, str]
) -> None:
    """A purge is in force when it returns: what the origin was asked before may be the old version."""
    asked, go = Signal("asked"), Signal("go")
    body = [b"old"]

    def rule(request: Request) -> Reply:
        now = body[0]
        if now == b"old":
            asked.set()
            go.wait()
        more = {"vary": vary} if vary else {}
        return fresh(600, now, **more)

    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        first = proxy.client()
        first.request("GET", "/a", fields)
        asked.wait()
        on_loop(proxy, lambda worker: worker.purge(["http://site.test/a"], False, False))
        body[0] = b"new"
        go.set()
        first.read_response()
        got = proxy.get("/a")
        assert got.body == b"new"
        assert not is_hit(got)


def test_a_body_that_turns_out_too_large_reaches_its_client() -> None:
    """Nothing of it was read yet when the store gave up on it: the client is on its way, not gone."""
    body = bytes(8000)
    with Origin(reply(200, {"Cache-Control": "max-age=60"}, body, framing="chunked")) as origin:
        with Proxy(site(origin, limits={"object": "1 KiB"})) as proxy:
            assert proxy.get("/a").body == body


def test_a_body_that_finds_no_space_reaches_its_client() -> None:
    body = bytes(3 << 20)
    with Origin(reply(200, {"Cache-Control": "max-age=60"}, body, framing="chunked")) as origin:
        with Proxy(site(origin, store={"memory": "1 MiB"})) as proxy:
            got = proxy.get("/a")
            assert got.status == 200
            assert len(got.body) == len(body)


def test_ranges_out_of_order_of_a_body_too_large_to_keep() -> None:
    body = bytes(range(256)) * (16 << 10)  # 4 MiB
    etag = '"v"'
    with Origin({"/a": fresh(0, body, etag=etag)}, patience=20) as origin:
        with Proxy(site(origin, store={"memory": "16 MiB"})) as proxy:
            proxy.get("/a")
            origin.rule = {"/a": fresh(600, body, etag='"w"')}
            got = proxy.get("/a", {"Range": "bytes=3000000-3000009,0-9"})
            assert got.status == 206


def test_a_reload_leaves_exchanges_in_progress_alone() -> None:
    half, go = Signal("half"), Signal("go")

    def script(conn: Conn) -> None:
        conn.expect("GET", "/a")
        conn.head(200, {"Cache-Control": "max-age=60", "Content-Length": "8"})
        conn.send(b"half")
        half.set()
        go.wait()
        conn.send(b"rest")

    with Origin.scripted(script) as origin, Proxy(site(origin)) as proxy, proxy.client() as client:
        client.request("GET", "/a")
        half.wait()
        time.sleep(0.1)
        again = cdn_config.parse(yaml_text(proxy.tree), "test.yaml", proxy.home)
        on_loop(proxy, lambda worker: worker.reload(again))
        time.sleep(0.1)
        go.set()
        assert client.read_response().body == b"halfrest"


def test_a_reload_does_not_send_a_waiting_request_to_another_origin() -> None:
    """A request keeps the route it was matched to, also when it boards a second flight."""
    asked, go = Signal("asked"), Signal("go")

    def rule(request: Request) -> Reply:
        if request["accept-language"] == "de":
            asked.set()
            go.wait()
        return fresh(600, b"right", vary="Accept-Language")

    with Origin(rule) as right, Origin(fresh(600, b"wrong")) as wrong:
        tree = site(right)
        tree["origins"]["other"] = {"servers": [wrong.url]}
        mine = {"match": {"host": ["site.test"], "path": "/*"}, "origin": "app"}
        tree["routes"] = [mine]
        with Proxy(tree) as proxy:
            first, second = proxy.client(), proxy.client()
            first.request("GET", "/a", {"Accept-Language": "de"})
            asked.wait()
            second.request("GET", "/a", {"Accept-Language": "fr"})
            eventually(lambda: proxy.stats()["connections"]["open"] >= 2, "both")
            time.sleep(0.1)
            other = {"match": {"host": ["other.test"], "path": "/*"}, "origin": "other"}
            changed = dict(proxy.tree) | {"routes": [other, mine]}
            again = cdn_config.parse(yaml_text(changed), "test.yaml", proxy.home)
            on_loop(proxy, lambda worker: worker.reload(again))
            go.set()
            assert first.read_response().status in (200, 502)
            assert second.read_response().body == b"right"
            assert wrong.count() == 0


def test_a_304_that_nobody_asked_for_reaches_no_client() -> None:
    """A client without conditions cannot use a 304."""
    with Origin({"/a": fresh(0, b"old", etag='"v"')}) as origin, Proxy(site(origin)) as proxy:
        proxy.get("/a")
        origin.rule = reply(304, {"ETag": '"other"'})
        assert proxy.get("/a").status in (200, 502)


def test_a_slow_reader_of_an_oversize_body_is_not_cut_by_the_origins_deadline() -> None:
    body = bytes(12 << 20)
    with Origin(reply(200, {"Cache-Control": "max-age=60"}, body, framing="chunked"), patience=30) as origin:
        tree = site(origin, origin_timeouts={"between_bytes": "1s"}, limits={"object": "1 MiB"})
        with Proxy(tree) as proxy, proxy.client(receive_buffer=64 << 10, timeout=20) as client:
            client.request("GET", "/a")
            time.sleep(3.5)
            assert len(client.read_response().body) == len(body)


def test_a_client_that_leaves_before_the_head_frees_the_origins_connection() -> None:
    """An answer that may not be stored and whose only taker has gone is closed, not kept."""
    asked, go = Signal("asked"), Signal("go")

    def script(conn: Conn) -> None:
        conn.expect("GET", "/a")
        asked.set()
        go.wait()
        conn.head(200, {"Cache-Control": "no-store", "Content-Length": "1000000"})
        conn.send(b"x" * 1000)
        conn.wire.until_closed()

    with Origin.scripted(script) as origin, Proxy(site(origin)) as proxy:
        client = proxy.client()
        client.request("GET", "/a")
        asked.wait()
        client.reset()
        time.sleep(0.1)
        go.set()
        eventually(lambda: proxy.stats()["flights"] == 0, "the flight's end")
        assert len(proxy.log(1)) == 1


@pytest.mark.parametrize("status", [200, 503])
def test_waiters_of_an_answer_that_cannot_be_stored(status: int) -> None:
    asked, go = Signal("asked"), Signal("go")

    def rule(request: Request) -> Reply:
        asked.set()
        go.wait()
        return reply(status, {"Cache-Control": "no-store"}, b"mine")

    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        clients = [proxy.client() for _ in range(20)]
        for client in clients:
            client.request("GET", "/a")
        asked.wait()
        time.sleep(0.2)
        go.set()
        for client in clients:
            assert client.read_response().status == status
        assert len(proxy.log(20)) == 20


def test_the_log_has_the_status_that_a_cut_client_saw() -> None:
    def script(conn: Conn) -> None:
        conn.expect("GET", "/a")
        conn.head(200, {"Cache-Control": "max-age=60", "Content-Length": "1000"})
        conn.send(b"half")
        time.sleep(0.2)
        conn.close()

    with Origin.scripted(script) as origin, Proxy(site(origin)) as proxy, proxy.client() as client:
        client.request("GET", "/a")
        got = client.read_response(tolerate_abort=True)
        assert got.aborted
        (line,) = proxy.log(1)
        assert line["status"] == 200


def test_a_reload_in_flight_stores_no_other_origins_answer() -> None:
    """The same with the first answer already on its way: what is stored under a key is its own route's."""
    asked, go, sent = Signal("asked"), Signal("go"), Signal("sent")

    def rule(request: Request) -> Reply:
        if request["accept-language"] == "de":
            asked.set()
            go.wait()
            sent.set()
        return fresh(600, b"right", vary="Accept-Language")

    with Origin(rule) as right, Origin(fresh(600, b"wrong")) as wrong:
        tree = site(right)
        tree["origins"]["other"] = {"servers": [wrong.url]}
        mine = {"match": {"host": ["site.test"], "path": "/*"}, "origin": "app"}
        other = {"match": {"host": ["other.test"], "path": "/*"}, "origin": "other"}
        tree["routes"] = [mine]
        with Proxy(tree) as proxy:
            clients = {language: proxy.client() for language in ("de", "fr")}
            for language, client in clients.items():
                client.request("GET", "/a", {"Accept-Language": language})
                asked.wait()
            time.sleep(0.1)
            again = cdn_config.parse(
                yaml_text(dict(proxy.tree) | {"routes": [other, mine]}), "test.yaml", proxy.home
            )
            on_loop(proxy, lambda worker: worker.reload(again))
            go.set()
            for client in clients.values():
                client.read_response()
            assert proxy.get("/a", {"Accept-Language": "fr"}).body == b"right"
            assert wrong.count() == 0
