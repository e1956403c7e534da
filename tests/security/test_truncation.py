"""What was not proven complete is never stored: every framing, cut at every byte."""

from __future__ import annotations

import pytest

from tests.harness import Origin, Reply, Request, Signal, fresh, site
from tests.harness.proxy import Proxy
from tests.harness.tls import tls_of

HEAD = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\n"

MESSAGES = {
    "length": HEAD + b"Content-Length: 10\r\n\r\n0123456789",
    "chunked": HEAD
    + b"Transfer-Encoding: chunked\r\n\r\n4\r\n0123\r\n6;x=y\r\n456789\r\n0\r\nX-T: 1\r\n\r\n",
    "close": HEAD + b"\r\n0123456789",
}


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_cut_at_every_byte(scheme: str, message: bytes, how: str) -> None:
    """One URL for each place of the cut; afterwards each is asked for again and must come from the origin,
    whole."""
    second: set[str] = set()

    def rule(request: Request) -> Reply | None:
        if request.target in second:
            return fresh(600, b"whole")
        request.conn.send(message[: int(request.target[1:])])
        if how == "reset":
            request.conn.reset()
        else:
            request.conn.close()
        return None

    with Origin(rule, tls=tls_of(scheme)) as origin, Proxy(site(origin)) as proxy:
        for cut in range(len(message)):
            with proxy.client() as client:
                client.request("GET", f"/{cut}")
                got = client.read_response(tolerate_abort=True)
                complete = got.status == 200 and not got.aborted
                assert not complete or got.framing == "close" or MESSAGES["close"] == message
            second.add(f"/{cut}")
            again = proxy.get(f"/{cut}")
            assert again.body == b"whole", f"cut at {cut} was stored"
        assert origin.count() >= 2 * len(message)


def test_the_whole_message_is_stored() -> None:
    """The counterpart: without a cut the same messages are, where their framing proves the end."""

    def rule(request: Request) -> None:
        request.conn.send(MESSAGES[request.target[1:]])
        request.conn.close()

    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        for name in MESSAGES:
            for _ in range(2):
                assert proxy.get(f"/{name}").body == b"0123456789"
        assert {name: origin.count(f"/{name}") for name in MESSAGES} == {
            "length": 1,
            "chunked": 1,
            "close": 2,
        }


def test_a_client_that_leaves_does_not_make_half_an_object() -> None:
    gate = Signal("the client has left")

    def rule(request: Request) -> None:
        request.conn.head(200, {"Cache-Control": "max-age=60", "Content-Length": "8"})
        request.conn.send(b"half")
        request.conn.hold(gate)
        request.conn.send(b"done")

    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        client = proxy.client()
        client.request("GET", "/a")
        client.read_head()[1].exactly(4)
        client.reset()
        proxy.settle()
        gate.set()
        assert proxy.get("/a").body == b"halfdone"
        assert origin.count() <= 2
