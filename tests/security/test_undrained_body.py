"""An answer that comes before the request's body has: the rest of the body is drained or the connection
closed, and it is never read as a request, by any lane.
"""

from __future__ import annotations

import time

import pytest

from tests.harness import Origin, RawClient, fresh, reply, site
from tests.harness.proxy import Proxy

HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: site.test\r\n\r\n"

HEADS = {
    # each is answered without the origin reading a body, some of them from the store
    "hit": b"GET /stored HTTP/1.1\r\nHost: site.test\r\n",
    "hit by HEAD": b"HEAD /stored HTTP/1.1\r\nHost: site.test\r\n",
    "304": b'GET /stored HTTP/1.1\r\nHost: site.test\r\nIf-None-Match: "1"\r\n',
    "range": b"GET /stored HTTP/1.1\r\nHost: site.test\r\nRange: bytes=0-0\r\n",
    "416": b"GET /stored HTTP/1.1\r\nHost: site.test\r\nRange: bytes=99-\r\n",
    "unknown host": b"POST /x HTTP/1.1\r\nHost: else.test\r\n",
    "method": b"TRACE /x HTTP/1.1\r\nHost: site.test\r\n",
    "only-if-cached": b"GET /none HTTP/1.1\r\nHost: site.test\r\nCache-Control: only-if-cached\r\n",
    "early origin": b"POST /early HTTP/1.1\r\nHost: site.test\r\n",
}


def begin(proxy: Proxy, head: bytes, framing: str) -> tuple[RawClient, bytes]:
    """Send the head; return the client and the body that it owes."""
    client = proxy.client()
    if framing == "length":
        client.send(head + b"Content-Length: %d\r\n\r\n" % len(HIDDEN))
        return client, HIDDEN
    client.send(head + b"Transfer-Encoding: chunked\r\n\r\n")
    return client, b"%x\r\n%s\r\n0\r\n\r\n" % (len(HIDDEN), HIDDEN)


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("when", ["with the head", "after the head", "after the answer", "in two pieces"])
@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_the_body_is_never_executed(head: bytes, when: str, framing: str) -> None:
    rules = {
        "/stored": fresh(60, b"hello", etag='"1"'),
        "/early": reply(403, {"Cache-Control": "no-store"}, b"no", close=True),
        "/hidden": reply(200, body=b"HIDDEN"),
        "/next": reply(200, body=b"NEXT"),
    }
    method = head.split()[0].decode()
    with Origin(rules, lazy=True) as origin, Proxy(site(origin)) as proxy:
        proxy.get("/stored")
        if when == "with the head":
            client = proxy.client()
            body = HIDDEN if framing == "length" else b"%x\r\n%s\r\n0\r\n\r\n" % (len(HIDDEN), HIDDEN)
            field = (
                b"Content-Length: %d" % len(HIDDEN) if framing == "length" else b"Transfer-Encoding: chunked"
            )
            client.send(head + field + b"\r\n\r\n" + body)
            answered = False
        else:
            client, body = begin(proxy, head, framing)
            answered = when == "after the answer"
            if answered:
                client.wire.timeout = 0.3
                try:
                    client.read_response(method)
                except AssertionError:
                    answered = False  # it waits for the body first: right as well
                client.wire.timeout = 5.0
            pieces = [body[:10], body[10:]] if when == "in two pieces" else [body]
            try:
                for piece in pieces:
                    client.send(piece)
                    proxy.settle()
            except (BrokenPipeError, ConnectionResetError):
                pass  # closed already: right as well
        try:
            client.request("GET", "/next")
            if not answered:
                client.read_response(method)
            following = client.read_response()
            assert following.body == b"NEXT"
        except (AssertionError, BrokenPipeError, ConnectionResetError):
            assert b"HIDDEN" not in client.wire.received
            assert client.wire.eof
        proxy.settle()
        assert origin.count("/hidden") == 0


@pytest.mark.parametrize("host", ["else.test", "site.test"])
def test_a_body_that_is_too_long_to_drain_ends_the_connection(host: str) -> None:
    """The drain is bounded: a client cannot keep us reading for an answer that it has."""
    early = reply(403, {"Cache-Control": "no-store"}, b"no", close=True)
    with Origin(early, lazy=True) as origin, Proxy(site(origin)) as proxy:
        client = proxy.client()
        client.send(f"POST /up HTTP/1.1\r\nHost: {host}\r\nContent-Length: 999999999\r\n\r\n".encode())
        assert ended_within(client, 8)
        assert origin.count() <= 1


def ended_within(client: RawClient, seconds: float) -> bool:
    """Whether the proxy refuses further bytes of the body after at most so long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            client.send(bytes(1 << 16))
        except OSError:
            return True
        time.sleep(0.01)
    return False
