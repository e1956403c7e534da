"""Server-sent events and other slow streams are not delayed: each piece arrives before the next is sent."""

from __future__ import annotations

import pytest

from tests.harness import Origin, Request, Signal, site
from tests.harness.proxy import Proxy

EVENTS = [b"data: %d\n\n" % number for number in range(5)]


@pytest.mark.parametrize("framing", ["chunked", "close"])
@pytest.mark.parametrize("cacheable", [False, True])
def test_every_event_arrives_before_the_next_is_sent(framing: str, cacheable: bool) -> None:
    arrived = [Signal(f"event {number} arrived") for number in range(len(EVENTS))]

    def rule(request: Request) -> None:
        conn = request.conn
        fields = {
            "Content-Type": "text/event-stream",
            "Cache-Control": "max-age=60" if cacheable else "no-store",
        }
        conn.head(200, {**fields, "Transfer-Encoding": "chunked"} if framing == "chunked" else fields)
        for event, seen in zip(EVENTS, arrived, strict=True):
            conn.chunk(event) if framing == "chunked" else conn.send(event)
            conn.hold(seen)
        conn.end_chunks() if framing == "chunked" else conn.close()

    with Origin(rule) as origin, Proxy(site(origin)) as proxy, proxy.client() as client:
        client.request("GET", "/events", {"Accept": "text/event-stream"})
        head, body = client.read_head()
        assert head["content-type"] == "text/event-stream"
        for event, seen in zip(EVENTS, arrived, strict=True):
            assert body.exactly(len(event)) == event
            seen.set()
        assert body.rest() == b""
        assert origin.count() == 1


def test_the_head_arrives_before_the_first_byte_of_the_body() -> None:
    gate = Signal("the client has the head")

    def rule(request: Request) -> None:
        request.conn.head(200, {"Content-Length": "2", "Cache-Control": "no-store"})
        request.conn.hold(gate)
        request.conn.send(b"ok")

    with Origin(rule) as origin, Proxy(site(origin)) as proxy, proxy.client() as client:
        client.request("GET", "/a")
        head, body = client.read_head()
        assert head.status == 200
        gate.set()
        assert body.rest() == b"ok"
