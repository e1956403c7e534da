"""Several servers behind one route, seen by a client: over TLS, by key, with backups, rewritten paths, and all down."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.harness import Origin, Reply, Request, eventually, fresh, refusing_port, reply, site
from tests.harness.proxy import Proxy, is_hit
from tests.harness.site import Tree
from tests.harness.tls import certificate, server_context

NO_STORE = {"Cache-Control": "no-store"}


def named(name: str) -> Origin:
    return Origin(lambda request: reply(200, NO_STORE, name.encode()))


def pool(
    *servers: Origin | str, cache: Tree | None = None, rewrite: Tree | None = None, **app: object
) -> Tree:
    tree = site(1, cache, route={"rewrite": rewrite} if rewrite else None)
    urls = [server if isinstance(server, str) else server.url for server in servers]
    tree["origins"] = {"app": {"servers": urls, **app}}
    return tree


def servers_of(proxy: Proxy) -> Tree:
    found: Tree = proxy.stats()["origins"]["app"]["servers"]
    return found


def test_interim_responses_of_a_server_over_tls_go_on() -> None:
    hints = [("Link", "</style.css>; rel=preload")]

    def rule(request: Request) -> Reply:
        request.conn.head(103, hints)
        return fresh(60)

    chain, _ = certificate("app.test")
    with Origin(rule, tls=server_context("app.test")) as origin:
        with Proxy(pool(origin, tls={"ca": str(chain), "name": "app.test"})) as proxy:
            answer = proxy.get("/a")
            assert [(told.status, list(told.fields)) for told in answer.interim] == [(103, hints)]
            assert is_hit(proxy.get("/a"))


def test_a_server_that_cannot_be_verified_is_502_and_gets_no_request() -> None:
    with Origin(lambda _: fresh(60), tls=server_context("app.test")) as origin:
        with Proxy(pool(origin)) as proxy:
            assert proxy.get("/a").status == 502
            assert origin.count() == 0
            assert "certificate is refused" in proxy.reports[-1][1]
            assert servers_of(proxy)[origin.url]["failures"] == {"tls": 1}


def test_each_url_has_its_server_whatever_is_not_in_its_key() -> None:
    cache: Tree = {"key": {"query": {"ignore": ["utm_*"]}}}
    with named("a") as one, named("b") as two, named("c") as three:
        with Proxy(pool(one, two, three, balance="hash", cache=cache)) as proxy:
            homes = {
                n: proxy.get(f"/{n}?v=1").body for n in range(60)
            }  # each server has some, whatever its port
            assert len(set(homes.values())) == 3
            for n, home in homes.items():
                assert proxy.get(f"/{n}?utm_source=x&v=1").body == home
                assert proxy.ask("HEAD", f"/{n}?v=1").status == 200
            last = {origin.url: origin.last for origin in (one, two, three)}
            assert all(request.method == "HEAD" for request in last.values())


def test_a_backup_answers_while_the_server_is_away() -> None:
    with refusing_port() as port, named("spare") as spare:
        away = f"http://127.0.0.1:{port}"
        with Proxy(pool(away, backup=[spare.url])) as proxy:
            assert [proxy.get("/a").body for _ in range(3)] == [b"spare"] * 3
            found = servers_of(proxy)
            assert found[away]["state"] == "ejected"
            assert (found[spare.url]["answered"], found[spare.url]["backup"]) == (3, 1)
            assert [kind for kind, _ in proxy.reports] == ["origin"]
            assert f"{away} is ejected for 2 s: no connection" in proxy.reports[0][1]


def test_a_post_goes_to_another_server_only_while_nothing_has_left() -> None:

    def hang_up(request: Request) -> None:
        request.conn.close()

    with refusing_port() as port, Origin(hang_up) as rude, named("good") as good:
        for first, statuses in ((f"http://127.0.0.1:{port}", [200, 200]), (rude.url, [200, 502])):
            with Proxy(pool(first, good)) as proxy:
                # whichever server is first in turn
                assert sorted(proxy.ask("POST", "/a", body=b"once").status for _ in range(2)) == statuses
        assert rude.count(method="POST") == 1


def test_the_origins_path_is_not_the_clients() -> None:
    def rule(request: Request) -> Reply:
        return reply(200, {"Cache-Control": "max-age=60"}, request.target.encode())

    with Origin(rule) as origin:
        with Proxy(pool(origin, rewrite={"strip_prefix": "/shop", "add_prefix": "/v2"})) as proxy:
            assert proxy.get("/shop/cart?a=b").body == b"/v2/cart?a=b"
            assert is_hit(proxy.get("/shop/cart?a=b"))
            assert proxy.get("/cart?a=b").body == b"/v2/cart?a=b"
            assert origin.count() == 2  # two URLs, two keys
            assert proxy.get("/shop").body == b"/v2/"
            assert proxy.get("/shopping").body == b"/v2/shopping"


def test_what_waits_too_long_for_a_place_is_503() -> None:
    limits: Tree = {"per_server": 1, "queue": 1, "wait": "100ms"}

    def rule(request: Request) -> Reply:
        if request.target == "/slow":
            eventually(lambda: proxy.stats()["origins"]["app"]["queue_full"] == 1, "a full queue")
        return reply(200, NO_STORE)

    with Origin(rule) as origin, Proxy(pool(origin, connections=limits)) as proxy:
        with ThreadPoolExecutor() as threads:
            slow = threads.submit(proxy.get, "/slow")
            origin.wait_for(1)
            others = [threads.submit(proxy.get, f"/other/{n}") for n in range(2)]
            assert sorted(other.result().status for other in others) in ([503, 503], [200, 503])
            assert slow.result().status == 200
        assert proxy.get("/other").status == 200


@pytest.mark.parametrize("down", ["refuse", "reset"])
def test_while_every_server_is_down_nobody_sees_an_error(down: str) -> None:
    """Stale-if-error: what is stored goes on being served, the servers' return is noticed, and then it is fresh."""
    well = True

    def rule(request: Request) -> Reply | None:
        if not well:
            request.conn.reset()
            return None
        return reply(200, {"Cache-Control": "max-age=10, stale-if-error=3600"}, b"%d" % count)

    count, numbers = 1, itertools.count()
    with Origin(rule) as one, Origin(rule) as two:
        eject: Tree = {"pause": "100ms", "longest": "100ms", "slow_return": "0s"}
        tree = pool(one, two, eject=eject)
        with Proxy(tree) as proxy:
            for n in range(5):
                assert proxy.get(f"/{n}").status == 200
            proxy.advance(20)
            if down == "refuse":
                one.stop_listening()
                two.stop_listening()
            well = False
            with proxy.outcomes(stale_sie=20):
                for round_ in range(4):
                    for n in range(5):
                        answer = proxy.get(f"/{n}")
                        assert (answer.status, answer.body) == (200, b"1"), round_
            assert proxy.get("/unknown").status == 502
            states = {server["state"] for server in servers_of(proxy).values()}
            assert states <= {"ejected", "returning"}
            if down == "reset":
                well, count = True, 2
                eventually(lambda: proxy.get("/1").body == b"2", "a fresh answer")

                def back() -> bool:
                    proxy.get(f"/new/{next(numbers)}")
                    return {server["state"] for server in servers_of(proxy).values()} == {"up"}

                eventually(back, "both servers back")
