"""Concurrent misses of one key make one origin request, and everybody gets its bytes as they arrive."""

from __future__ import annotations

import pytest

from tests.harness import Barrier, Origin, RawClient, Reply, Request, Signal, fresh, reply, site
from tests.harness.proxy import Proxy, is_hit, ours
from tests.harness.sync import eventually

FOLLOWERS = 20


def ask_together(proxy: Proxy, count: int, target: str = "/c") -> list[RawClient]:
    """`count` clients whose requests the proxy has read."""
    clients = [proxy.client() for _ in range(count)]
    for client in clients:
        client.request("GET", target)
    proxy.settle()
    return clients


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_one_request_streamed_to_all_while_it_arrives(framing: str) -> None:
    head, rest = Signal("all clients wait"), Signal("all have the first half")

    def rule(request: Request) -> None:
        conn = request.conn
        conn.hold(head)
        if framing == "length":
            conn.head(200, {"Cache-Control": "max-age=60", "Content-Length": "8"})
            conn.send(b"half")
            conn.hold(rest)
            conn.send(b"done")
        else:
            conn.head(200, {"Cache-Control": "max-age=60", "Transfer-Encoding": "chunked"})
            conn.chunk(b"half")
            conn.hold(rest)
            conn.chunk(b"done")
            conn.end_chunks()

    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        with proxy.outcomes(miss=1, collapsed=FOLLOWERS):
            clients = ask_together(proxy, FOLLOWERS)
            head.set()
            answers = [client.read_head() for client in clients]
            for response, body in answers:
                assert response.status == 200
                assert body.exactly(4) == b"half"
            late = proxy.client()  # comes in mid-body and gets all of it
            late.request("GET", "/c")
            response, late_body = late.read_head()
            assert late_body.exactly(4) == b"half"
            rest.set()
            assert [body.rest() for _, body in answers] == [b"done"] * FOLLOWERS
            assert late_body.rest() == b"done"
            followers = [response for response, _ in answers if "collapsed" in ours(response)]
            assert len(followers) == FOLLOWERS - 1
        assert origin.count() == 1
        assert is_hit(proxy.get("/c"))


def test_an_uncacheable_answer_frees_all_at_once() -> None:
    waiting, together = Signal("all wait"), Barrier(FOLLOWERS - 1, "all others at the origin at once")

    def rule(request: Request) -> Reply:
        number = origin.count()
        if number == 1:
            request.conn.hold(waiting)
        else:
            together.wait()  # passes only if nobody is let through one by one
        return reply(200, {"Cache-Control": "no-store"}, request["x-me"].encode())  # type: ignore[union-attr]

    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        clients = [proxy.client() for _ in range(FOLLOWERS)]
        for index, client in enumerate(clients):
            client.request("GET", "/c", {"X-Me": str(index)})
        proxy.settle()
        eventually(lambda: origin.count() == 1, "the one request at the origin")
        waiting.set()
        for index, client in enumerate(clients):
            assert client.read_response().body == str(index).encode()
        assert origin.count() == FOLLOWERS


def test_that_a_url_is_uncacheable_is_remembered() -> None:
    together = Barrier(4, "four at the origin at once")

    def rule(request: Request) -> Reply:
        if origin.count() > 1:
            together.wait()
        return reply(200, {"Cache-Control": "private"}, b"mine")

    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        proxy.get("/c")
        for client in ask_together(proxy, 4):
            assert client.read_response().body == b"mine"


def test_followers_of_another_variant_do_not_get_the_leaders() -> None:
    gate = Signal("all wait")

    def rule(request: Request) -> Reply:
        request.conn.hold(gate)
        return fresh(60, (request["x-size"] or "-").encode(), vary="X-Size")

    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        sizes = ["s", "l", "s", "l", "m"]
        clients = [proxy.client() for _ in sizes]
        for size, client in zip(sizes, clients, strict=True):
            client.request("GET", "/c", {"X-Size": size})
        proxy.settle()
        gate.set()
        assert [client.read_response().body.decode() for client in clients] == sizes
        assert origin.count() <= len(sizes)


def test_the_leader_leaves_and_the_others_are_still_answered() -> None:
    head, rest = Signal("all wait"), Signal("the leader has left")

    def rule(request: Request) -> None:
        request.conn.hold(head)
        request.conn.head(200, {"Cache-Control": "max-age=60", "Content-Length": "8"})
        request.conn.send(b"half")
        request.conn.hold(rest)
        request.conn.send(b"done")

    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        leader = proxy.client()
        leader.request("GET", "/c")
        origin.wait_for(1)
        others = ask_together(proxy, 3)
        head.set()
        leader.read_head()[1].exactly(4)
        leader.reset()
        proxy.settle()
        rest.set()
        assert [other.read_response().body for other in others] == [b"halfdone"] * 3
        assert origin.count() == 1
        assert is_hit(proxy.get("/c"))


def test_an_origin_that_fails_is_not_asked_again_by_each_who_waited() -> None:
    """Its connection dies before a byte came: all who wait get the error, the next request starts anew."""
    gate = Signal("all wait")

    def rule(request: Request) -> Reply | None:
        if origin.count() == 1:
            request.conn.hold(gate)
            request.conn.reset()
            return None
        return fresh(60, b"second try")

    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        clients = ask_together(proxy, 5)
        gate.set()
        assert [client.read_response().status for client in clients] == [502] * 5
        assert origin.count() == 1
        assert proxy.get("/c").body == b"second try"


def test_a_fill_cut_in_mid_body_cuts_everybody_and_stores_nothing() -> None:
    gate, cut = Signal("all wait"), Signal("all have the first half")

    def rule(request: Request) -> Reply | None:
        if origin.count() > 1:
            return fresh(60, b"whole")
        request.conn.hold(gate)
        request.conn.head(200, {"Cache-Control": "max-age=60", "Content-Length": "8"})
        request.conn.send(b"half")
        request.conn.hold(cut)
        request.conn.reset()
        return None

    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        clients = ask_together(proxy, 4)
        gate.set()
        answers = [client.read_head() for client in clients]
        for _, body in answers:
            assert body.exactly(4) == b"half"
        cut.set()
        for client in clients:
            assert client.wire.until_closed() == b""
        assert proxy.get("/c").body == b"whole"


def test_different_keys_do_not_wait_for_each_other() -> None:
    gate = Signal("the slow one may go")

    def rule(request: Request) -> Reply:
        if request.target == "/slow":
            request.conn.hold(gate)
        return fresh(60)

    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        slow = proxy.client()
        slow.request("GET", "/slow")
        origin.wait_for(1)
        assert proxy.get("/quick").status == 200
        gate.set()
        assert slow.read_response().status == 200
