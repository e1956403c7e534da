"""What an origin sends on a kept connection, cut anywhere: the fill lane hears it as the general lane does."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.harness import Origin, reply, site
from tests.harness.proxy import Proxy
from tests.proxy.lanes import NOW, WARM, Ask, both, lines, origins

OK = b"HTTP/1.1 200 OK\r\n"
# name: (the bytes of one response, whether the origin closes behind them)
LIES: dict[str, tuple[bytes, bool]] = {
    "short": (OK + b"Content-Length: 10\r\n\r\nhello", True),
    "short, may be stored": (OK + b"Cache-Control: max-age=60\r\nContent-Length: 10\r\n\r\nhello", True),
    "nothing": (b"", True),
    "half a head": (OK + b"Content-Le", True),
    "no head": (b"hello\r\n\r\n", True),
    "two lengths": (OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nx", True),
    "length and chunks": (
        OK + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
        True,
    ),
    "identity": (OK + b"Transfer-Encoding: chunked, identity\r\n\r\n1\r\nx\r\n0\r\n\r\n", True),
    "chunks in 1.0": (b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", True),
    "bad chunk": (OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nxyz\r\n", True),
    "chunks cut": (OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhel", True),
    "chunks without an end": (OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", True),
    "bare line feed": (b"HTTP/1.1 200 OK\nContent-Length: 1\n\nx", True),
    "control": (OK + b"X-A: a\x00b\r\nContent-Length: 1\r\n\r\nx", True),
    "fold": (OK + b"X-A: a\r\n b\r\nContent-Length: 1\r\n\r\nx", True),
    "unasked switch": (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        True,
    ),
    "surplus": (OK + b"Content-Length: 5\r\n\r\nhello, world", False),
    "a second response": (OK + b"Content-Length: 2\r\n\r\nok" + OK + b"Content-Length: 4\r\n\r\nevil", False),
    "behind no content": (b"HTTP/1.1 204 No Content\r\n\r\nevil", False),
    "until it closes": (OK + b"\r\nhello", True),
    "old": (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", True),
    "closing": (OK + b"Connection: close\r\nContent-Length: 5\r\n\r\nhello", True),
    "interim": (
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
        + OK
        + b"Content-Length: 5\r\n\r\nhello",
        False,
    ),
}


class Said:
    """Answers the first request for a target with bytes, later ones with a plain response."""

    def __init__(self, data: bytes, closes: bool, cuts: list[int], pause: float = 0.0) -> None:
        self.data, self.closes, self.cuts, self.pause = data, closes, cuts, pause
        self.done: set[str] = set()

    def __call__(self, request: Any) -> Any:
        if request.target in self.done:
            return reply(200, {"Cache-Control": "no-store"}, b"again " + request.target.encode())
        self.done.add(request.target)
        at = 0
        for cut in [*self.cuts, len(self.data)]:
            if self.data[at:cut]:
                request.conn.send(self.data[at:cut])
                time.sleep(self.pause)
            at = max(at, cut)
        if self.closes:
            request.conn.close()
        return None


def outcome(lane: bool, cached: bool, said: Said, method: str = "GET") -> tuple[Any, ...]:
    """What a client sees of one strange response and of the next request for the same."""

    def rule(request: Any) -> Any:
        return reply(200, {"Cache-Control": "no-store"}, b"warm") if request.target == WARM else said(request)

    with (
        Origin(rule) as origin,
        Proxy(site(origin, **({} if cached else {"route": {"cache": False}}))) as proxy,
    ):
        proxy.clock.advance(NOW - proxy.clock.now())
        proxy._worker.fill_lane.enabled = lane
        seen: list[Any] = []
        with proxy.client() as client:
            client.ask("POST", WARM)
            for _ in range(2):
                with proxy.client() as each:
                    each.send(f"{method} /a HTTP/1.1\r\nHost: site.test\r\n\r\n".encode())
                    answer = each.read_response(method, tolerate_abort=True)
                    own = answer.status in (502, 504)
                    fields = [] if own else answer.fields
                    interims = [(i.status, i.fields) for i in answer.interim]
                    body = b"" if own else answer.body
                    seen.append((answer.status, fields, body, answer.framing, answer.aborted, interims))
        said_in_log = lines(proxy.log(3), {"duration_us", "origin", "origin_first_byte_us", "bytes"})
        stored = {key: proxy._worker.memory.lookup(key).draft() for key in proxy._worker.memory.keys()}  # noqa: SIM118
        asked = [request.target for request in origin.requests]
        return (
            seen,
            said_in_log,
            stored,
            asked,
            proxy.stats()["outcomes"],
            proxy._worker.site.flights,
            lane_of(proxy),
        )


def lane_of(proxy: Proxy) -> int:
    return int(proxy.stats()["lanes"]["fill"])


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("name", LIES)
def test_lies(name: str, cached: bool) -> None:
    data, closes = LIES[name]
    cuts = [1, len(data) // 2, len(data) - 1] if data else []
    general, lane = (outcome(lane, cached, Said(data, closes, cuts, 0.002)) for lane in (False, True))
    assert lane[:-1] == general[:-1]
    assert general[-1] == 0
    if name in ("surplus", "a second response"):
        assert lane[0][0][2] in (b"hello", b"ok")
        assert lane[0][1][2] == b"again /a"
        assert lane[-1] > 0


FIELD = st.sampled_from(
    [
        ("Cache-Control", "max-age=60"),
        ("Cache-Control", "s-maxage=5, stale-while-revalidate=9"),
        ("Cache-Control", "no-store"),
        ("Cache-Control", "max-age=60, must-revalidate"),
        ("Cache-Control", "no-cache"),
        ("cache-control", "public"),
        ("CDN-Cache-Control", "max-age=7"),
        ("Expires", "Tue, 22 Sep 2026 14:14:00 GMT"),
        ("Expires", "0"),
        ("Date", "Tue, 22 Sep 2026 14:13:00 GMT"),
        ("Date", "tue, 22 sep 2026 14:13:00 gmt"),
        ("Date", "Tue, 22 Sep 2026 15:13:00 GMT"),
        ("Age", "7"),
        ("Age", "7, 8"),
        ("Age", "-1"),
        ("ETag", '"a"'),
        ("ETag", 'W/"b"'),
        ("ETag", ""),
        ("etag", "unquoted"),
        ("Last-Modified", "Mon, 21 Sep 2026 14:13:20 GMT"),
        ("Last-Modified", "once"),
        ("Pragma", "no-cache"),
        ("Vary", "Accept-Encoding"),
        ("Vary", "*"),
        ("Set-Cookie", "a=b"),
        ("Content-Type", "text/html"),
        ("Content-Encoding", "gzip"),
        ("Server", "x"),
        ("X-Trace", "1"),
        ("X-Trace", "22"),
        ("Keep-Alive", "timeout=5"),
        ("Connection", "keep-alive"),
        ("Connection", "x-trace"),
        ("Cache-Tag", "a"),
        ("Via", "1.1 before"),
        ("X-Empty", ""),
    ]
)


@st.composite
def responses(draw: st.DrawFn) -> bytes:
    status = draw(st.sampled_from([200, 200, 200, 203, 204, 206, 301, 302, 304, 404, 410, 500, 503]))
    fields = draw(st.lists(FIELD, max_size=7))
    body = draw(st.sampled_from([b"", b"x", b"hello" * 50]))
    space = draw(st.sampled_from([" ", "", "  \t"]))
    head = f"HTTP/1.1 {status} {draw(st.sampled_from(['OK', '', 'Not so fine']))}\r\n"
    head += "".join(f"{name}:{space}{value}\r\n" for name, value in fields)
    if status in (204, 304):
        return head.encode() + b"\r\n"
    if draw(st.integers(0, 3)) == 0:
        framed = b"Transfer-Encoding: chunked\r\n\r\n"
        framed += b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:2], body[2:]) if part)
        return head.encode() + framed + b"0\r\n\r\n"
    return head.encode() + f"Content-Length: {len(body)}\r\n\r\n".encode() + body


class Several:
    """`/n` is answered with the n-th response, in turn, cut at random places."""

    def __init__(self, data: list[bytes], seed: int) -> None:
        self.data, self.seed = data, seed

    def __call__(self, request: Any) -> Any:
        number = int(request.target.partition("?")[0][1:])
        data, chance = self.data[number % len(self.data)], random.Random(self.seed + number)
        cuts = sorted(chance.sample(range(len(data)), chance.choice([0, 0, 1, 3])))
        for first, last in zip([0, *cuts], [*cuts, len(data)], strict=True):
            request.conn.send(data[first:last])
        return None


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
@given(st.lists(responses(), min_size=1, max_size=4), st.integers(0, 99), st.booleans(), st.integers(0, 4000))
def test_random_responses(data: list[bytes], seed: int, cached: bool, step: int) -> None:
    """Each response comes twice, so that the second time the lane does what it has learnt from the first."""
    asks = [Ask(f"/{n}{'' if n % 3 else '?q=1'}") for n in range(2 * len(data))]

    def tree(origin: Origin) -> dict[str, Any]:
        return site(origin, route={} if cached else {"cache": False})

    both(Several(data, seed), asks, tree, step=step)


def test_a_connection_that_died_while_it_was_kept() -> None:
    """The origin closes behind each answer without a word: the request is asked again, and counted once."""

    def rule(request: Any) -> Any:
        request.conn.respond(200, {"Cache-Control": "no-store"}, b"x")
        request.conn.close()

    runs = []
    for lane in (False, True):
        with Origin(rule) as origin, Proxy(site(origin)) as proxy, proxy.client() as client:
            proxy._worker.fill_lane.enabled = lane
            for _ in range(20):
                assert client.get("/a").body == b"x"
            runs.append((len(origin.requests), proxy.stats()["outcomes"], origins_of(proxy)))
    assert runs[0] == runs[1]


def origins_of(proxy: Proxy) -> Any:
    class Stats:
        stats = proxy.stats()

    return origins(Stats)  # type: ignore[arg-type]


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize(
    "body", [b"zz\r\nhello", b"5\r\0hello", b"5 \r\nhello"], ids=["size", "end", "space"]
)
def test_a_body_that_is_broken_where_its_head_ends_is_told_and_not_met_with_silence(
    cached: bool, body: bytes
) -> None:
    """The head waited for its body, and was dropped with it: a client that hears nothing asks again."""
    head = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n"

    def rule(request: Any) -> Any:
        if request.target == WARM:
            return reply(200, {"Cache-Control": "no-store"}, b"warm")
        request.conn.send(head + body)
        request.conn.close()
        return None

    tree = None if cached else "off"
    with Origin(rule) as origin, Proxy(site(origin, tree)) as proxy, proxy.client() as client:
        client.ask("POST", WARM)
        with proxy.lanes(fill=1), proxy.outcomes(error=1, miss=0):
            answer = client.ask("GET", "/a")
        assert answer.status == 502
        assert proxy._worker.site.flights == {}
        assert client.ask("POST", WARM).body == b"warm"
        if cached:
            assert client.ask("GET", "/a").status == 502
