"""An origin that answers in two halves, and holds between them for as long as the test wants."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.harness import Origin, RawClient, Signal, eventually, reply, request_bytes, site
from tests.harness.proxy import Proxy
from tests.proxy.lanes import WARM

GET = request_bytes("GET", "/a")


class Held:
    """An origin that holds its answer to /a before the head, or in the middle of the body."""

    def __init__(self, head: bytes, body: bytes, first: int = 0) -> None:
        self.head, self.body, self.first = head, body, first
        self.before, self.between = Signal("the head"), Signal("the body")

    def go(self) -> None:
        self.before.set()
        self.between.set()

    def __call__(self, request: Any) -> Any:
        if request.target != "/a":
            return reply(200, {"Cache-Control": "no-store"}, b"warm")
        self.before.wait()
        request.conn.send(self.head + self.body[: self.first])
        self.between.wait()
        request.conn.send(self.body[self.first :])
        return None


@contextmanager
def leading(held: Held, **tree: Any) -> Iterator[tuple[Origin, Proxy, RawClient]]:
    """A request for /a that the fill lane has taken, and its origin has not answered."""
    with Origin(held) as origin, Proxy(site(origin, **tree)) as proxy:
        proxy.ask("POST", WARM)
        with proxy.client() as leader:
            leader.send(GET)
            origin.wait_for(1, "/a")
            assert proxy._worker.fill_lane.active == 1
            yield origin, proxy, leader
            held.go()
        eventually(lambda: proxy._worker.fill_lane.active == 0, "the lane to be idle")
        assert proxy._worker.site.flights == {}
        memory = proxy._worker.memory
        counted = memory.audit()
        assert counted["filling_runs"] == counted["filling_blocks"] == 0


def outlived(
    held: Held, origin: Origin, proxy: Proxy, leader: RawClient, body: bytes, objects: int = 1
) -> None:
    """The leader leaves, and what it asked for is stored all the same."""
    leader.reset()
    eventually(lambda: proxy.stats()["connections"]["open"] == 0, "the client to be gone")
    held.go()
    eventually(lambda: proxy._worker.memory.stats()["objects"] == objects, f"{objects} objects to be stored")
    with proxy.lanes(hit=1):
        assert proxy.get("/a").body == body
    assert origin.count("/a") == 1
