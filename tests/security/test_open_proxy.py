"""No request makes the node dial what its configuration does not name, nor tunnel for anybody."""

from __future__ import annotations

import socket

import pytest

from tests.harness import Origin, fresh, reply, site
from tests.harness.proxy import Proxy

HOSTS = [
    "169.254.169.254",
    "127.0.0.1",
    "127.0.0.1:{port}",
    "localhost:{port}",
    "[::1]",
    "[::1]:{port}",
    "[::ffff:127.0.0.1]:{port}",
    "[::ffff:a9fe:a9fe]",
    "0.0.0.0:{port}",
    "0:{port}",
    "2130706433:{port}",
    "0x7f000001:{port}",
    "017700000001:{port}",
    "127.1:{port}",
    "metadata.google.internal",
    "site.test.evil.test",
    "xn--site-test",
]

TARGETS = [
    "http://127.0.0.1:{port}/secret",
    "http://169.254.169.254/latest/meta-data/",
    "http://[::1]:{port}/secret",
    "http://site.test@127.0.0.1:{port}/secret",
    "https://127.0.0.1:{port}/secret",
    "ftp://127.0.0.1:{port}/secret",
    "gopher://127.0.0.1:{port}/_x",
    "file:///etc/passwd",
    "//127.0.0.1:{port}/secret",
    "@127.0.0.1:{port}/secret",
    ":{port}/secret",
    "127.0.0.1:{port}",
]


class Bait:
    """A listening port that nobody may dial."""

    def __enter__(self) -> Bait:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.socket.settimeout(0.05)
        self.port: int = self.socket.getsockname()[1]
        return self

    def dialled(self) -> bool:
        try:
            self.socket.accept()[0].close()
        except TimeoutError:
            return False
        return True

    def __exit__(self, *_: object) -> None:
        self.socket.close()


@pytest.mark.parametrize("host", HOSTS)
def test_a_host_is_looked_up_in_the_configuration_only(host: str) -> None:
    with Bait() as bait, Origin(fresh(60)) as origin, Proxy(site(origin)) as proxy:
        assert proxy.get("/secret", host=host.format(port=bait.port)).status in (400, 421)
        assert not bait.dialled()
        assert origin.count() == 0


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("method", ["GET", "POST", "CONNECT"])
def test_a_target_is_none_either(target: str, method: str) -> None:
    with Bait() as bait, Origin(fresh(60)) as origin, Proxy(site(origin)) as proxy:
        answer = proxy.ask(method, target.format(port=bait.port))
        assert answer.status in (200, 400, 404, 405, 421)
        assert not bait.dialled()
        if answer.status == 200:  # "//host/path" is a path of two slashes
            assert target.startswith("//")
            assert origin.last["host"] == "site.test"


def test_with_a_route_for_any_host_the_origin_is_still_the_configured_one() -> None:
    with (
        Bait() as bait,
        Origin(fresh(60)) as origin,
        Proxy(site(origin, route={"match": {"path": "/*"}})) as proxy,
    ):
        for host in (f"127.0.0.1:{bait.port}", f"site.test:{bait.port}", "site.test:22"):
            assert proxy.get("/a", host=host).status == 200
            assert origin.last["host"] == host
        assert not bait.dialled()
        assert origin.count() == 3


def test_a_redirect_of_the_origin_is_not_followed() -> None:
    with Bait() as bait:
        with Origin(reply(302, {"Location": f"http://127.0.0.1:{bait.port}/"})) as origin:
            with Proxy(site(origin)) as proxy:
                assert proxy.get("/a").status == 302
                assert not bait.dialled()


@pytest.mark.parametrize(
    "target", ["site.test:443", "site.test:80", "127.0.0.1:22", "/", "*", "http://site.test/"]
)
def test_connect_opens_no_tunnel(target: str) -> None:
    with Origin(fresh(60)) as origin, Proxy(site(origin)) as proxy, proxy.client() as client:
        client.send(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
        assert client.read_response().status in (400, 405, 421)
        assert origin.connections == 0


def test_trace_shows_nobody_their_fields() -> None:
    with Origin(fresh(60)) as origin, Proxy(site(origin)) as proxy:
        answer = proxy.ask("TRACE", "/a", {"Cookie": "secret=1"})
        assert answer.status == 405
        assert b"secret" not in answer.body
        assert origin.count() == 0
