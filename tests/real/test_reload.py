"""SIGHUP to a node at work: no request is lost, none is decided by two configurations, a bad file changes nothing."""

from __future__ import annotations

import signal
import time

import pytest

from ..harness import Crew, Origin, RawClient, Reply, Request, Signal, Tree, fresh, reply, site
from ..harness.site import yaml_text
from ..harness.sync import eventually
from ..harness.tls import tls_of
from ..peers import need
from .content import LARGE, answer, node, page, slow_client
from .node import Node


class Load:
    """Clients that ask until they are told to stop and accept nothing but the right answers."""

    def __init__(self, port: int) -> None:
        self.port, self.stop = port, Signal("the end of the load")

    def keep_asking(self, number: int) -> int:
        """On one kept-alive connection: hits, misses, passed requests in turn."""
        done = 0
        with RawClient(self.port, timeout=20) as client:
            while not self.stop.is_set():
                target = ("/page", "/passed", f"/page-{number}-{done}")[done % 3]
                response = client.get(target)
                wanted = b"passed" if target == "/passed" else page(target)
                assert (response.status, response.body) == (200, wanted), (target, response)
                done += 1
        return done

    def keep_connecting(self) -> int:
        done = 0
        while not self.stop.is_set():
            with RawClient(self.port, timeout=20) as client:
                assert client.get("/page").body == b"page /page"
            done += 1
        return done


def test_reloads_under_load_lose_no_request(origin: Origin) -> None:
    with node(origin) as serve, Crew(patience=30) as crew:
        load = Load(serve.port)
        tasks = [crew.start(load.keep_asking, number) for number in range(4)]
        tasks.append(crew.start(load.keep_connecting))
        good = serve.config.read_text()
        changed = good.replace(
            "- match:", "- match: {path: /new/*}\n  origin: app\n  cache: off\n- match:", 1
        )
        assert changed != good
        texts = (good, changed, good.replace("origin: app", "orgin: app"), changed, "", good, "\0\xff")
        end = time.monotonic() + 3
        sent = 0
        while time.monotonic() < end:
            serve.config.write_text(texts[sent % len(texts)])
            serve.signal(signal.SIGHUP)
            sent += 1
            time.sleep(0.06)
        # Last a good one; signals that come while a reload runs are one reload.
        eventually(lambda: sum(serve.stats()["reloads"].values()) > 10, "the reloads")
        serve.config.write_text(changed)
        serve.signal(signal.SIGHUP)
        eventually(lambda: "fwd=bypass" in (serve.get("/new/page")["cache-status"] or ""), "the new route")
        load.stop.set()
        counts = [task.result(20) for task in tasks]
        stats = serve.stats()
    print(f"\n{sent} SIGHUPs, reloads {stats['reloads']}, answers {counts}")
    assert min(counts) > 50
    assert stats["reloads"]["done"] >= 3
    assert stats["reloads"]["refused"] >= 3
    assert stats["statuses"].keys() <= {"2xx"}


# Requests that go to the origin for one client alone: their route is looked at again when the answer is there.
ALONE = {
    "predicted": ("/held", {}),
    "conditional": ("/page", {"If-None-Match": '"0"'}),
    "range": ("/page", {"Range": "bytes=0-3"}),
    "joined": ("/page", {}),
}


@pytest.mark.parametrize("kind", sorted(ALONE))
def test_a_reload_while_the_origin_answers(kind: str) -> None:
    """The route of a request is the one it was matched to, wherever that stands in the new configuration."""
    target, fields = ALONE[kind]
    release, held = Signal("the release"), Signal("the request to be at the origin")

    def rule(request: Request) -> Reply:
        if "x-hold" in request:
            held.set()
            release.wait(20)
        body = page(target)
        return reply(200, {"Cache-Control": "no-store"}, body) if kind == "predicted" else fresh(600, body)

    def routes(*paths: str) -> list[Tree]:
        made: list[Tree] = [{"match": {"path": path}, "origin": "app", "cache": False} for path in paths]
        return [*made, {"match": {"path": "/*"}, "origin": "app"}]

    with (
        Origin(rule, patience=20) as origin,
        Crew(patience=25) as crew,
        Node(site(origin, routes=routes("/a/*", "/b/*"))) as serve,
    ):
        if kind == "predicted":
            serve.get(target)  # was not storable: the next one goes alone
        asked = crew.start(serve.get, target, {**fields, "X-Hold": "1"})
        held.wait(20)
        serve.config.write_text(yaml_text(changed_origins({**serve.tree, "routes": routes()})))
        serve.signal(signal.SIGHUP)
        eventually(lambda: serve.stats()["reloads"]["done"] == 1, "the reload", 20)
        release.set()
        response = asked.result(20)
        assert response.status in (200, 206), response.body
        assert response.body in (page(target), b"page")
        assert serve.get(target).status == 200
        assert "exchange:" not in serve.stderr


def changed_origins(tree: Tree) -> Tree:
    """The same site with another word about its origin, so that a reload replaces what speaks with it."""
    return {**tree, "origins": {"app": {**tree["origins"]["app"], "timeouts": {"first_byte": "14s"}}}}


@pytest.mark.parametrize("changed", [False, True], ids=["same", "changed"])
@pytest.mark.parametrize("target", ["/large", "/large-passed"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_reload_in_the_middle_of_a_download(scheme: str, target: str, changed: bool) -> None:
    """Whether the configuration says something else about its origin or not; in the clear and over TLS."""
    if scheme == "https":
        need("openssl")
    with (
        Origin(answer, patience=20, tls=tls_of(scheme)) as origin,
        Node(site(origin, store={"memory": "64 MiB"})) as serve,
        slow_client(serve.port) as client,
    ):
        client.request("GET", target)
        _, reader = client.read_head()
        body = bytearray(reader.exactly(100_000))
        if changed:
            serve.config.write_text(yaml_text(changed_origins(serve.tree)))
        serve.signal(signal.SIGHUP)
        eventually(lambda: serve.stats()["reloads"]["done"] == 1, "the reload")
        while data := reader.some(1 << 20):
            body += data
        assert body == LARGE
        assert client.get("/page").body == b"page /page"


def test_a_bad_file_keeps_what_runs(origin: Origin) -> None:
    with node(origin) as serve, RawClient(serve.port) as kept:
        kept.get("/page")
        good = serve.config.read_text()
        for bad in (
            good.replace("origin: app", "orgin: app"),
            "",
            "{",
            good.replace("/*", "/only/*") + "\t:\n",
        ):
            before = serve.stats()["reloads"]["refused"]
            lines = len(serve.stderr.splitlines())
            serve.config.write_text(bad)
            serve.signal(signal.SIGHUP)
            eventually(lambda: serve.stats()["reloads"]["refused"] > before, "the refusal")  # noqa: B023
            eventually(lambda: len(serve.stderr.splitlines()) > lines, "the line about it")  # noqa: B023
            said = [line for line in serve.stderr.splitlines()[lines:] if " reload: " in line]
            assert len(said) == 1, said
            assert said[0].endswith("the old configuration stays")
            assert kept.get("/page").status == 200
        serve.config.unlink()
        serve.signal(signal.SIGHUP)
        eventually(lambda: serve.stats()["reloads"]["refused"] == 5, "the refusal")
        assert kept.get("/page").status == 200
        assert "Traceback" not in serve.stderr
