"""The TLS listener: the same proxy behind a handshake."""

from __future__ import annotations

import socket

from tests.harness import Origin, Tree, fresh, reply, request_bytes, site
from tests.harness.proxy import Proxy, is_hit
from tests.harness.tls import certificate


def tls_site(origin: Origin, **top: object) -> Tree:
    chain, key = certificate("site.test", "*.site.test")
    listen = [
        {"url": "https://127.0.0.1:0", "certificate": str(chain), "key": str(key)},
        "http://127.0.0.1:0",
    ]
    return site(origin, listen=listen, **top)


def test_miss_and_hit_over_tls() -> None:
    with Origin(fresh(60, b"hello")) as origin, Proxy(tls_site(origin)) as proxy:
        with proxy.client(tls=True) as client:
            assert client.get("/a").body == b"hello"
            with proxy.lanes(hit=1):
                assert is_hit(client.get("/a"))
        assert origin.last["x-forwarded-proto"] == "https"


def test_http_and_https_are_different_urls() -> None:
    with Origin(fresh(60)) as origin, Proxy(tls_site(origin)) as proxy:
        proxy.client(tls=True).get("/a")
        assert not is_hit(proxy.client(port=proxy.ports[1]).get("/a"))
        assert origin.count() == 2


def test_a_large_body_over_tls() -> None:
    body = bytes(index % 251 for index in range(3_000_000))
    with (
        Origin(fresh(60, body)) as origin,
        Proxy(tls_site(origin)) as proxy,
        proxy.client(tls=True) as client,
    ):
        for _ in range(2):
            assert client.get("/a").body == body
        assert origin.count() == 1


def test_an_upload_and_pipelining_over_tls() -> None:
    with (
        Origin(lambda request: reply(200, body=request.body or b"none")) as origin,
        Proxy(tls_site(origin)) as proxy,
        proxy.client(tls=True) as client,
    ):
        client.send(request_bytes("POST", "/a", body=b"x" * 100_000) + request_bytes("GET", "/b"))
        assert len(client.read_response().body) == 100_000
        assert client.read_response().body == b"none"


def test_plain_http_on_the_tls_port_is_refused() -> None:
    with Origin(fresh(60)) as origin, Proxy(tls_site(origin)) as proxy:
        with socket.create_connection(("127.0.0.1", proxy.port), 5) as sock:
            sock.sendall(request_bytes("GET", "/a"))
            sock.settimeout(5)
            try:
                assert not sock.recv(100).startswith(b"HTTP/1.1 200")
            except ConnectionResetError:
                pass
        assert origin.count() == 0
