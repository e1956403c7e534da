"""A store that is full of bodies on their way in: what comes then passes through, and nobody waits for ever."""

from __future__ import annotations

import time

from tests.harness import Conn, Origin, RawClient, Signal, site
from tests.harness.proxy import Proxy

WHOLE = 200_000


def test_bodies_that_find_no_space_pass_through() -> None:
    """Eight bodies at once into a store that holds three: all arrive, the node answers meanwhile."""
    go = Signal("go")

    def script(conn: Conn) -> None:
        while (request := conn.read_request()) is not None:
            if request.target == "/small":
                conn.respond(200, {"Cache-Control": "no-store"}, b"small")
                continue
            conn.head(200, {"Cache-Control": "max-age=60", "Content-Length": str(WHOLE)})
            time.sleep(0.05)
            conn.send(b"x" * (WHOLE - 10_000))
            go.wait(10)
            conn.send(b"x" * 10_000)

    with Origin(scripts=[script] * 20, patience=20) as origin:
        with Proxy(site(origin, store={"memory": "1 MiB"})) as proxy:
            clients = [RawClient(proxy.port) for _ in range(8)]
            for index, client in enumerate(clients):
                client.request("GET", f"/{index}")
                time.sleep(0.15)
            assert proxy.get("/small").body == b"small"
            go.set()
            for client in clients:
                assert len(client.read_response().body) == WHOLE
                client.close()
