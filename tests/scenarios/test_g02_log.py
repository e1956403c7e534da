"""The access log: one line a request, the same names as everywhere."""

from __future__ import annotations

import pytest

from tests.harness import Origin, eventually, fresh, reply, request_bytes, site
from tests.harness.proxy import Proxy


def test_one_line_a_request_with_its_outcome() -> None:
    with (
        Origin(
            {"/a": fresh(60, b"hello"), "/p": reply(200, {"Cache-Control": "no-store"}, b"pass")}
        ) as origin,
        Proxy(site(origin)) as proxy,
    ):
        with proxy.client() as client:
            for target in ("/a", "/a?x=1", "/a", "/p"):
                client.get(target, {"User-Agent": "test/1", "Referer": "http://x/"})
            client.ask("POST", "/p", body=b"data")
        proxy.get("/a", host="else.test")
        lines = proxy.log(6)
    assert len(lines) == 6
    assert len({line["id"] for line in lines if line["id"] is not None}) == 3  # the lanes in C make none
    by = {(line["method"], line["target"], line["outcome"]): line for line in lines}
    miss, hit = by["GET", "/a", "miss"], by["GET", "/a", "hit"]
    assert miss["key"] == hit["key"] != by["GET", "/a?x=1", "miss"]["key"]
    assert (miss["status"], miss["bytes"], hit["status"], hit["bytes"]) == (200, 5, 200, 5)
    assert (hit["user_agent"], hit["referer"], hit["client"]) == ("test/1", "http://x/", "127.0.0.1")
    assert by["GET", "/p", "miss"]["no_store"] == "no-store"
    assert by["POST", "/p", "pass"]["no_store"] == "method"
    assert sorted(line["status"] for line in lines) == [200, 200, 200, 200, 200, 421]
    assert origin.count() == 4


def test_hostile_bytes_stay_inside_their_line() -> None:
    with Origin(fresh(60)) as origin, Proxy(site(origin)) as proxy, proxy.client() as client:
        client.get(
            '/a"b?c={"x":1}', {"User-Agent": 'evil" \\ \x7f\xe9'.replace("\x7f", ""), "Referer": '"}\\'}
        )
        client.send(b"GET /\x00\x1b[31m HTTP/1.1\r\nHost: x\r\n\r\n")
        client.wire.until_closed()
        assert len(proxy.log(2)) == 2


def test_combined_format() -> None:
    with Origin(fresh(60, b"hello")) as origin:
        tree = site(origin)
        with Proxy(tree | {"log": {"access": {"to": "./combined.log", "format": "combined"}}}) as proxy:
            proxy.get("/a?b=c", {"User-Agent": "test/1"})
            path = proxy.home / "combined.log"
            text = eventually(lambda: path.exists() and path.read_text(), "a line in the combined log")
    assert text.count("\n") == 1
    assert text.startswith("127.0.0.1 - - [")
    assert '"GET /a?b=c HTTP/1.1" 200 5 "-" "test/1"' in text


@pytest.mark.parametrize("count", [50])
def test_pipelined_hits_have_a_line_each(count: int) -> None:
    with Origin(fresh(60)) as origin, Proxy(site(origin)) as proxy, proxy.client() as client:
        client.get("/a")
        client.send(request_bytes("GET", "/a") * count)
        for _ in range(count):
            client.read_response()
        assert len(proxy.log(count + 1)) == count + 1
        assert origin.count() == 1
