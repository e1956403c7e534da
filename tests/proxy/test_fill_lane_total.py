"""A deadline for the whole of an answer (`timeouts.total`) down both lanes, and where one goes on for the other."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest

from tests.harness import Origin, Reply, eventually, reply, request_bytes, site
from tests.harness.proxy import Proxy
from tests.proxy.lanes import WARM, Ask, both, lines, told

PAUSE = (
    0.3  # seconds that an origin of these tests takes for a step; a lane's deadline is in the second of them
)
TOTAL = "450ms"


def limited(origin: Origin, total: str = TOTAL, **more: Any) -> dict[str, Any]:
    tree = site(origin, **more)
    tree["origins"]["app"]["timeouts"] = {"total": total, "first_byte": "20s", "between_bytes": "20s"}
    return tree


KINDS: dict[str, Reply] = {
    "stored": reply(200, {"Cache-Control": "max-age=60"}, b"hello"),
    "chunked": reply(200, {"Cache-Control": "max-age=60"}, b"hello", framing="chunked"),
    "no store": reply(200, {"Cache-Control": "no-store"}, b"hello"),
    "varies": reply(200, {"Cache-Control": "max-age=60", "Vary": "Accept-Encoding"}, b"hello"),
    "nothing": reply(204, {"Cache-Control": "max-age=60"}),
}


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("name", KINDS)
def test_in_time(name: str, cached: bool) -> None:
    asks = [Ask(path, method) for path in ("/a", "/b") for method in ("HEAD", "GET")]
    route = {} if cached else {"cache": False}
    both(lambda request: KINDS[name], asks, lambda origin: limited(origin, "20s", route=route), fill=4)


Does = Callable[[Any], Any]


def silent(request: Any) -> None:
    request.conn.stall()


def in_the_body(request: Any) -> None:
    request.conn.head(200, {"Cache-Control": "max-age=60", "Content-Length": "9"})
    request.conn.send(b"half")
    request.conn.stall()


def in_chunks(request: Any) -> None:
    request.conn.head(200, {"Cache-Control": "max-age=60", "Transfer-Encoding": "chunked"})
    request.conn.chunk(b"half")
    request.conn.stall()


def without_an_end(request: Any) -> None:
    """The lane hands it over with its head."""
    request.conn.head(200, {"Cache-Control": "max-age=60"})
    request.conn.send(b"half")
    request.conn.stall()


def longer_than_the_lane_stores(request: Any) -> None:
    """The lane hands it over in the middle."""
    request.conn.head(200, {"Cache-Control": "max-age=60", "Transfer-Encoding": "chunked"})
    for _ in range(20):
        request.conn.chunk(b"x" * (64 << 10))
    request.conn.stall()


def drips(request: Any) -> None:
    """Never silent for long: only the whole is too slow."""
    request.conn.head(200, {"Cache-Control": "no-store", "Content-Length": "1000"})
    for _ in range(100):
        request.conn.send(b"drip")
        time.sleep(0.02)


def over(lane: bool, does: Does, cached: bool) -> dict[str, Any]:
    def rule(request: Any) -> Any:
        return reply(200, {"Cache-Control": "no-store"}, b"warm") if request.target == WARM else does(request)

    with Origin(rule) as origin, Proxy(limited(origin, route={} if cached else {"cache": False})) as proxy:
        proxy._worker.fill_lane.enabled = lane
        proxy.ask("POST", WARM)
        with proxy.client() as client:
            client.send(request_bytes("GET", "/a"))
            answer = client.read_response(tolerate_abort=True)
        eventually(lambda: proxy.stats()["exchanges"] == 0, "the exchange to end")
        (server,) = proxy._worker.site.origins.stats()["app"]["servers"].values()
        stats = proxy.stats()
        counted = stats["origins"]["app"]
        body = answer.body[:-1] if does is drips else answer.body  # as many as there was time for
        return {
            "answer": (*told(answer)[:3], len(body) if does is not drips else 0, answer.aborted)
            if answer.status == 200
            else told(answer),
            "failures": server["failures"],
            "origin": (counted["requests"], counted["errors"]),
            "outcomes": stats["outcomes"],
            "no_store": stats["no_store"],
            "stored": stats["objects"] if "objects" in stats else proxy._worker.memory.stats()["objects"],
            "log": lines(
                [{k: v for k, v in line.items() if k != "bytes"} for line in proxy.log(2)[1:]],
                {"duration_us", "origin", "origin_first_byte_us"},
            ),
        }


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize(
    "does", [silent, in_the_body, in_chunks, without_an_end, longer_than_the_lane_stores, drips]
)
def test_too_late(does: Does, cached: bool) -> None:
    general, lane = (over(lane, does, cached) for lane in (False, True))
    for seen in (general, lane):  # dates are of the moment
        seen["answer"] = repr(seen["answer"]).partition("'Date', '")[0]
        seen["log"] = [line.partition("'time'")[0] for line in seen["log"]]
    assert lane == general
    assert lane["failures"] == {"total-timeout": 1}


# What was begun in the lane is late by when the lane began: each of these would be answered if that were counted anew.


def late(does: list[Does], servers: int = 1, **timeouts: str) -> int:
    """The status that a request gets whose tries the origin answers like this, one after the other."""
    left = list(does)

    def rule(request: Any) -> Any:
        if request.target == WARM:
            return reply(200, {"Cache-Control": "no-store"}, b"warm")
        return left.pop(0)(request)

    with ExitStack() as stack:
        origins = [stack.enter_context(Origin(rule)) for _ in range(servers)]
        tree = limited(origins[0])
        tree["origins"]["app"]["servers"] = [one.url for one in origins]
        tree["origins"]["app"]["timeouts"] |= timeouts
        proxy = stack.enter_context(Proxy(tree))
        for _ in range(servers):
            proxy.ask("POST", WARM)
        before = proxy._worker.fill_lane.handed_over
        status = proxy.ask("GET", "/a").status
        assert proxy._worker.fill_lane.handed_over == before + 1
        assert not left
        return status


def dies(request: Any) -> None:
    time.sleep(PAUSE)
    request.conn.close()


def answers(request: Any) -> Reply:
    time.sleep(PAUSE)
    return reply(200, {"Cache-Control": "max-age=60"}, b"late")


def test_a_dead_connection_does_not_begin_the_time_anew() -> None:
    assert late([dies, answers]) == 504


def test_a_further_try_does_not_begin_the_time_anew() -> None:
    assert late([silent, answers], 2, first_byte="500ms", total="600ms") == 504


def test_a_further_try_within_the_time() -> None:
    assert late([silent, answers], 2, first_byte="500ms", total="20s") == 200
