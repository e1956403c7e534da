"""Fields of one connection are neither forwarded nor stored, in either direction (RFC 9110 §7.6.1)."""

from __future__ import annotations

import pytest

from tests.harness import Origin, reply, site
from tests.harness.proxy import Proxy

HOP = {
    "Keep-Alive": "timeout=5",
    "Proxy-Connection": "keep-alive",
    "Proxy-Authorization": "Basic abc",
    "Proxy-Authenticate": "Basic",
    "Proxy-Authentication-Info": "x",
    "TE": "gzip",
    "Trailer": "X-T",
    "X-Listed": "secret",
    "Authorization-Info": "listed",
}
LISTED = "close, X-Listed, authorization-info, keep-alive"


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_none_reaches_the_origin(method: str) -> None:
    with Origin(reply(200, {"Cache-Control": "no-store"}, b"ok")) as origin, Proxy(site(origin)) as proxy:
        proxy.ask(
            method, "/a", {**HOP, "Connection": LISTED, "X-Kept": "1"}, body=b"x" if method == "POST" else b""
        )
        seen = origin.last
        assert [name for name in HOP if name.lower() in {key.lower() for key, _ in seen.fields}] == []
        assert (seen["connection"] or "").lower() in ("", "keep-alive", "close")
        assert seen["x-kept"] == "1"


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
@pytest.mark.parametrize("cacheable", [True, False])
def test_none_reaches_the_client_on_miss_or_hit(framing: str, cacheable: bool) -> None:
    fields = [("Cache-Control", "max-age=60" if cacheable else "no-store"), *HOP.items()]
    fields += [("Connection", "X-Listed, Authorization-Info"), ("X-Kept", "1")]
    with Origin(reply(200, fields, b"hello", framing=framing, trailers={"X-T": "1"})) as origin:
        with Proxy(site(origin)) as proxy:
            for _ in range(3):
                got = proxy.get("/a")
                names = [name.lower() for name, _ in got.fields]
                assert [name for name in HOP if name.lower() in names] == []
                assert (got["connection"] or "").lower() in ("", "keep-alive", "close")
                assert len(got.all("content-length") + got.all("transfer-encoding")) <= 1
                assert (got["x-kept"], got.body) == ("1", b"hello")
        stored = cacheable and framing != "close"  # the end of a connection proves no body whole
        assert got.all("content-length") == ["5"] or not stored
        assert origin.count() == (1 if stored else 3)


def test_a_client_cannot_strip_what_protects() -> None:
    """`Connection` may list names of ours: they are written after the listed ones are gone."""
    listed = "close, X-Forwarded-For, Host, Via, CDN-Loop, Cookie, Forwarded, Content-Length"
    with Origin(reply(200, {"Cache-Control": "no-store"}, b"ok")) as origin, Proxy(site(origin)) as proxy:
        got = proxy.ask("POST", "/a", {"Connection": listed}, body=b"hello")
        seen = origin.last
        assert got.status == 200
        assert seen["host"] == "site.test"
        assert seen["x-forwarded-for"] == "127.0.0.1"
        assert "edge-1" in (seen["via"] or "")
        assert seen.body == b"hello"


def test_an_origin_cannot_strip_what_decides() -> None:
    """A response whose Connection lists Cache-Control still is what its Cache-Control says."""
    fields = {
        "Cache-Control": "private, max-age=60",
        "Connection": "Cache-Control, Set-Cookie",
        "Set-Cookie": "id=1",
    }
    with Origin(reply(200, fields, b"mine")) as origin, Proxy(site(origin)) as proxy:
        for _ in range(2):
            proxy.get("/a")
        assert origin.count() == 2


def test_te_trailers_and_unknown_connection_options_do_no_harm() -> None:
    with Origin(reply(200, {"Cache-Control": "no-store"}, b"ok")) as origin, Proxy(site(origin)) as proxy:
        for value in ("", ",", ", ,close", "a" * 2000, "x,y,z" * 50, 'close="1"'):
            assert proxy.get("/a", {"Connection": value}).status in (200, 400)
        assert all("connection" not in request or request["connection"] for request in origin.requests)
