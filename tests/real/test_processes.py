"""The processes of a node at work: what a kill, a signal and a purge do while several workers serve."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from cdn.proxy.spreading import PAUSE

from ..harness import Closed, Crew, Origin, RawClient, Reply, Request, Signal, fresh, reply, site
from ..harness.process import Serve
from ..harness.site import yaml_text
from ..harness.sync import eventually
from .content import page
from .node import Node

WORKERS = 2


def several(origin: Origin, **top: Any) -> Node:
    return Node(site(origin, workers=WORKERS, store={"memory": "32 MiB"}, **top))


@contextmanager
def running(origin: Origin, **top: Any) -> Iterator[Node]:
    """A node whose every process is up."""
    with several(origin, **top) as node:
        eventually(lambda: len(workers(node)) == WORKERS, "the workers", 20)
        yield node


def workers(node: Node) -> list[dict[str, Any]]:
    return [worker for worker in node.stats()["workers"] if worker["answers"]]


def pids(node: Node) -> list[int]:
    return [worker["pid"] for worker in workers(node)]


def control(node: Node) -> int:
    """The control process: the one that is no worker."""
    known = {worker["pid"] for worker in node.stats()["workers"]}
    (pid,) = [pid for pid in node.others if pid not in known]
    return pid


def connections(node: Node) -> dict[int, int]:
    return {worker["worker"]: worker["connections"] for worker in workers(node)}


@contextmanager
def one_on_each(node: Node) -> Iterator[list[RawClient]]:
    """A connection to each worker, in their order."""
    with ExitStack() as stack:
        found: dict[int, RawClient] = {}
        before = connections(node)
        for _ in range(200):
            client = stack.enter_context(RawClient(node.port, timeout=20))
            assert client.get("/nowhere", host="nobody.invalid").status in (404, 421)
            after = connections(node)
            (number,) = [number for number in after if after[number] != before[number]]
            found.setdefault(number, client)
            before = after
            if len(found) == WORKERS:
                break
        yield [found[number] for number in range(WORKERS)]


def is_hit(client: RawClient, target: str) -> bool:
    response = client.get(target)
    assert response.status == 200
    assert response.body == page(target)
    return "; hit" in (response["cache-status"] or "")


# Who serves whom


def test_connections_that_stay_are_spread_whoever_accepts_them(origin: Origin) -> None:
    """Of 64 connections 56 stayed with the one worker that happened to look first. Here one gets the first 40, as the
    other is stopped, and nobody waits for that; later, new ones are the other's until both have about as many."""
    with running(origin) as node, ExitStack() as stack:
        second = pids(node)[1]

        def more(number: int) -> dict[int, int]:
            for _ in range(number):
                client = stack.enter_context(RawClient(node.port, timeout=20))
                assert client.get("/page").body == page("/page")
            return connections(node)

        os.kill(second, signal.SIGSTOP)
        clients = [stack.enter_context(RawClient(node.port, timeout=20)) for _ in range(40)]
        for client in clients:
            assert client.get("/page").body == page("/page")
        os.kill(second, signal.SIGCONT)
        eventually(lambda: len(workers(node)) == WORKERS, "the stopped worker", 20)
        held = connections(node)
        assert held == {0: 40, 1: 0}
        for _ in range(8):
            time.sleep(PAUSE)  # for so long it is not trusted
            held = more(12)
            if held[0] <= held[1] + 8 + held[1] // 8:
                break
        else:
            pytest.fail(f"they are not spread: {held}")


# Kills


def test_a_killed_worker_resets_no_queued_connection(origin: Origin) -> None:
    with running(origin) as node, ExitStack() as stack:
        node.get("/page")
        stopped = pids(node)
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        clients = [stack.enter_context(RawClient(node.port, timeout=20)) for _ in range(60)]
        for client in clients:
            client.request("GET", "/page")
        for pid in stopped:
            os.kill(pid, signal.SIGKILL)
        for client in clients:
            assert client.read_response().body == page("/page")
        assert "takes its place" in node.stderr
        assert sum(worker["restarts"] for worker in workers(node)) == WORKERS


def test_a_killed_worker_takes_its_own_requests_with_it_and_nothing_else() -> None:
    gate = Signal("the origin's answers")

    def rule(request: Request) -> Reply:
        request.conn.hold(gate)
        return fresh(600, page(request.target))

    with Origin(rule, patience=20) as origin, running(origin) as node, ExitStack() as stack:
        clients = [stack.enter_context(RawClient(node.port, timeout=20)) for _ in range(16)]
        for number, client in enumerate(clients):
            client.request("GET", f"/{number}")
        origin.wait_for(16)
        held = connections(node)
        victim = workers(node)[0]
        os.kill(victim["pid"], signal.SIGKILL)
        eventually(lambda: victim["pid"] not in pids(node), "the replacement", 20)
        gate.set()
        cut = 0
        for number, client in enumerate(clients):
            try:
                assert client.read_response().body == page(f"/{number}")
            except (Closed, ConnectionError):
                cut += 1
        assert cut == held[0]


def test_kills_under_load_fail_only_what_was_under_way(origin: Origin) -> None:
    clients, kills = 6, 3
    with running(origin) as node, Crew(patience=30) as crew:
        stop = Signal("the end of the load")

        def ask() -> tuple[int, int]:
            good = bad = 0
            while not stop.is_set():
                try:
                    with RawClient(node.port, timeout=20) as client:  # a refused connection fails the test
                        try:
                            assert client.get("/page", {"Connection": "close"}).body == page("/page")
                            good += 1
                        except (Closed, ConnectionResetError, BrokenPipeError):
                            bad += 1
                except ConnectionResetError:
                    bad += 1
            return good, bad

        tasks = [crew.start(ask) for _ in range(clients)]
        for _ in range(kills):
            time.sleep(0.4)
            killed = pids(node)[0]
            os.kill(killed, signal.SIGKILL)
            eventually(lambda: killed not in pids(node) and len(pids(node)) == WORKERS, "the replacement", 20)  # noqa: B023
        stop.set()
        counts = [task.result(20) for task in tasks]
    print(
        f"\n{sum(good for good, _ in counts)} answers, {sum(bad for _, bad in counts)} cut by {kills} kills"
    )
    assert sum(bad for _, bad in counts) <= clients * kills
    assert min(good for good, _ in counts) > 20


def test_nothing_outlives_a_killed_supervisor(origin: Origin) -> None:
    with running(origin) as node, one_on_each(node) as clients:
        for client in clients:
            client.get("/page")
        node.signal(signal.SIGKILL)
        assert node.wait() == -signal.SIGKILL  # which also waits for the others, at most a second

        def free() -> bool:
            with socket.socket() as again:
                again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    again.bind(("127.0.0.1", node.port))
                    again.listen()
                except OSError:
                    return False
            return True

        eventually(free, "the port to be free", 1)


def test_a_worker_that_keeps_dying_is_said_once_and_comes_back(origin: Origin) -> None:
    with running(origin) as node:
        spared = {control(node), *pids(node)[1:]}
        end = time.monotonic() + 2.5
        dead: set[int] = set()
        while time.monotonic() < end:
            for pid in set(node.others) - spared - dead:
                os.kill(pid, signal.SIGKILL)
                dead.add(pid)
            time.sleep(0.02)
        killed = len(dead)
        assert killed >= 4
        assert killed <= 12  # the pauses grow
        eventually(lambda: "worker 0 stays up again" in node.stderr, "its recovery", 15)
        assert node.stderr.count("keeps dying") == 1
        assert node.stderr.count("takes its place") <= 2
        assert node.get("/page").body == page("/page")
        assert 3 <= workers(node)[0]["restarts"] <= killed


def test_a_killed_control_process_is_replaced(origin: Origin) -> None:
    with running(origin) as node:
        node.get("/page")
        old = control(node)
        os.kill(old, signal.SIGKILL)

        def again() -> bool:
            try:
                return control(node) != old and len(workers(node)) == WORKERS
            except (OSError, Closed, ValueError):
                return False

        eventually(again, "another control process", 20)
        assert node.stats()["outcomes"]["miss"] == 1
        assert re.search(
            r"the control process was killed by SIGKILL; process \d+ takes its place", node.stderr
        )
        node.signal(signal.SIGTERM)
        assert node.wait() == 0


# Ends


def test_term_under_load_is_no_error(origin: Origin) -> None:
    """Whoever was let in is answered: the others find a closed port."""
    with running(origin) as node, Crew(patience=30) as crew:

        def ask() -> int:
            answered = 0
            while True:
                try:
                    client = RawClient(node.port, timeout=5)
                except OSError:
                    return answered
                with client:
                    assert client.get("/page", {"Connection": "close"}).body == page("/page")
                answered += 1

        tasks = [crew.start(ask) for _ in range(8)]
        time.sleep(0.5)
        node.signal(signal.SIGTERM)
        assert node.wait() == 0
        assert min(task.result(20) for task in tasks) > 5
        assert node.stderr.endswith("ended\n")


def test_a_second_node_on_the_same_admin_port(origin: Origin) -> None:
    with running(origin) as node:
        tree = site(origin, admin={"listen": f"http://127.0.0.1:{node.admin}"})
        with Serve(tree, wait=False) as second:
            assert second.wait() == 2
            assert len(second.stderr.splitlines()) == 1
            assert "the port is in use" in second.stderr


# Quiet


@pytest.mark.parametrize("seconds", [3, pytest.param(10, marks=[pytest.mark.full, pytest.mark.alone])])
def test_an_idle_worker_does_not_wake_up(origin: Origin, seconds: int) -> None:

    def switches(pid: int) -> dict[str, int]:
        found = {}
        for task in Path(f"/proc/{pid}/task").iterdir():
            match = re.search(r"^voluntary_ctxt_switches:\s+(\d+)", (task / "status").read_text(), re.M)
            assert match is not None
            found[task.name] = int(match[1])
        return found

    with running(origin) as node:
        for _ in range(20):
            node.get("/page", {"Connection": "close"})
        processes = [node.pid, *pids(node)]
        time.sleep(5)  # log lines are out, connections to the origin have been idle for too long
        before = {pid: switches(pid) for pid in processes}
        time.sleep(seconds)
        assert {pid: switches(pid) for pid in processes} == before


# One node


def test_counters_add_up_over_workers(origin: Origin) -> None:
    with running(origin) as node:
        with one_on_each(node) as clients:
            for number, client in enumerate(clients):
                for _ in range(5 + number):
                    client.get("/page")
            asked = sum(5 + number for number in range(WORKERS))
            eventually(
                lambda: sum(node.stats()["outcomes"][name] for name in ("hit", "miss")) == asked, "them"
            )
            assert sum(connections(node).values()) == node.stats()["connections"]["open"] >= WORKERS
        stats = node.stats()
        assert sum(worker["requests"] for worker in stats["workers"]) == sum(stats["outcomes"].values())
        assert stats["outcomes"]["miss"] == 1  # one cache
        with RawClient(node.admin) as client:
            text = client.get("/metrics", host=f"127.0.0.1:{node.admin}").body.decode()
        assert f'cdn_worker_restarts_total{{worker="{WORKERS - 1}"}} 0\n' in text
        # What a killed worker has counted stays counted.
        os.kill(pids(node)[0], signal.SIGKILL)
        eventually(lambda: sum(worker["restarts"] for worker in workers(node)) == 1, "the replacement", 20)
        assert node.stats()["outcomes"] == stats["outcomes"]


KINDS: list[tuple[str, dict[str, Any]]] = [
    ("url", {"urls": ["http://site.test/a/page"]}),
    ("tag", {"tags": ["news"]}),
    ("prefix", {"prefixes": ["http://site.test/a"]}),
    ("host", {"hosts": ["site.test"]}),
    ("all", {"all": True}),
]


def purge(node: Node, wanted: dict[str, Any]) -> dict[str, Any]:
    body = json.dumps(wanted).encode()
    with RawClient(node.admin, timeout=10) as client:
        host = f"127.0.0.1:{node.admin}"
        response = client.ask("POST", "/v1/purge", {"Content-Type": "application/json"}, body, host=host)
    assert response.status == 200, response.body
    answer: dict[str, Any] = json.loads(response.body)
    return answer


def test_a_purge_is_in_force_on_every_worker_when_it_returns() -> None:
    with (
        Origin(lambda request: fresh(600, page(request.target), **{"Cache-Tag": "news"})) as origin,
        running(origin) as node,
        one_on_each(node) as clients,
    ):
        for kind, wanted in KINDS * 2:
            clients[0].get("/a/page")
            assert all(is_hit(client, "/a/page") for client in clients), kind
            purge(node, wanted)
            assert not is_hit(clients[-1], "/a/page"), kind
            assert all(is_hit(client, "/a/page") for client in clients), kind
        assert origin.count("/a/page") == 1 + 2 * len(KINDS)
        soft = {"urls": ["http://site.test/a/page"], "soft": True}
        assert purge(node, soft)["purged"] == 1
        assert purge(node, soft | {"soft": False})["purged"] == 1
        assert purge(node, soft | {"soft": False})["purged"] == 0


def test_a_purge_reaches_what_another_worker_is_fetching() -> None:
    gates = [Signal(f"answer {number}") for number in range(2 * len(KINDS))]
    asked = iter(gates)

    def rule(request: Request) -> Reply:
        request.conn.hold(next(asked))
        return fresh(600, page(request.target), **{"Cache-Tag": "news"})

    with (
        Origin(rule, patience=30) as origin,
        Crew(patience=30) as crew,
        running(origin) as node,
        one_on_each(node) as clients,
    ):
        for number, (kind, wanted) in enumerate(KINDS):
            first = crew.start(clients[0].get, "/a/page")
            origin.wait_for(2 * number + 1)
            purge(node, wanted)
            gates[2 * number].set()
            assert first.result(20).body == page("/a/page")
            gates[2 * number + 1].set()
            assert not is_hit(clients[1], "/a/page"), kind
            assert is_hit(clients[0], "/a/page"), kind
            purge(node, {"all": True})


def test_a_purge_does_not_wait_for_a_worker_that_hangs(origin: Origin) -> None:
    with running(origin) as node, one_on_each(node) as clients:
        assert [is_hit(client, "/page") for client in clients] == [False, True]
        stuck = workers(node)[0]["pid"]
        os.kill(stuck, signal.SIGSTOP)
        try:
            began = time.monotonic()
            purge(node, {"urls": ["http://site.test/page"]})
            assert time.monotonic() - began < 5
            assert not is_hit(clients[1], "/page")
            purge(node, {"tags": ["x"], "urls": ["http://site.test/page"]})
        finally:
            os.kill(stuck, signal.SIGCONT)
        assert not is_hit(clients[0], "/page")


def test_a_reload_is_taken_by_all_workers_or_by_none(origin: Origin) -> None:
    with running(origin) as node, one_on_each(node) as clients:
        assert [client.get("/new/page").status for client in clients] == [200, 200]
        good = node.config.read_text()
        node.config.write_text(
            good.replace("- match:", "- match: {path: /new/*}\n  origin: app\n  cache: false\n- match:", 1)
        )
        node.signal(signal.SIGHUP)
        eventually(lambda: node.stats()["reloads"]["done"] == 1, "the reload", 20)
        for client in clients:
            assert "fwd=bypass" in (client.get("/new/page")["cache-status"] or "")
        # One that comes later serves by it, too.
        os.kill(pids(node)[0], signal.SIGKILL)
        eventually(lambda: workers(node)[0]["restarts"] == 1, "the replacement", 20)
        with one_on_each(node) as again:
            for client in again:
                assert "fwd=bypass" in (client.get("/new/page")["cache-status"] or "")


def test_a_follower_goes_on_by_the_origin_it_was_matched_to() -> None:
    """The origin's name is gone from the configuration when it has to ask on its own."""
    gate = Signal("the first answer")

    def rule(request: Request) -> Reply:
        if origin.count() == 1:
            request.conn.hold(gate)
        return reply(200, {"Cache-Control": "no-store"}, page(request.target))

    with Origin(rule, patience=20) as origin, Crew(patience=30) as crew, Node(site(origin)) as node:
        tasks = [crew.start(node.get, "/page") for _ in range(3)]
        origin.wait_for(1)
        eventually(lambda: node.stats()["exchanges"] == 3, "the followers")
        tree = node.tree
        routes = [{**route, "origin": "other"} for route in tree["routes"]]
        node.config.write_text(
            yaml_text({**tree, "origins": {"other": tree["origins"]["app"]}, "routes": routes})
        )
        node.signal(signal.SIGHUP)
        eventually(lambda: node.stats()["reloads"]["done"] == 1, "the reload", 20)
        gate.set()
        assert [task.result(20).body for task in tasks] == [page("/page")] * 3


@pytest.mark.parametrize("target", ["file", "pipe"])
def test_lines_of_several_workers_are_whole(origin: Origin, tmp_path: Path, target: str) -> None:
    log = tmp_path / "access.log"
    if target == "pipe":
        os.mkfifo(log)
        reader = os.open(log, os.O_RDONLY | os.O_NONBLOCK)
    got = bytearray()
    with running(origin, log={"access": {"to": str(log)}}) as node, one_on_each(node) as clients:
        lines = 0
        for turn in range(40):
            for client in clients:
                for number in range(10):
                    client.request("GET", f"/{turn}-{number}?" + "x" * (37 * number))
            for client in clients:
                for _ in range(10):
                    client.read_response()
                    lines += 1
            if target == "pipe":
                try:
                    got += os.read(reader, 1 << 20)
                except BlockingIOError:
                    pass

        def arrived() -> list[bytes]:
            nonlocal got
            if target == "file":
                got = bytearray(log.read_bytes())
            else:
                try:
                    got += os.read(reader, 1 << 20)
                except BlockingIOError:
                    pass
            return [line for line in bytes(got).split(b"\n")[:-1] if b'"host":"site.test"' in line]

        eventually(lambda: len(arrived()) >= lines, "the lines", 10)
        assert len([json.loads(line) for line in arrived()]) == lines
        if target == "file":  # every worker opens it anew
            log.rename(tmp_path / "old.log")
            node.signal(signal.SIGHUP)
            eventually(log.exists, "the new file", 10)
            eventually(lambda: node.stats()["reloads"]["done"] == 1, "the reload", 20)
            for number, client in enumerate(clients):
                client.get(f"/after-{number}")
            eventually(lambda: log.read_bytes().count(b"/after-") == WORKERS, "their lines", 10)
    if target == "pipe":
        os.close(reader)


def test_the_admin_listener_takes_so_many_connections_and_no_more(origin: Origin) -> None:
    with running(origin) as node, ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(RawClient(node.admin))
        host = f"127.0.0.1:{node.admin}"

        def refused() -> bool:
            with RawClient(node.admin) as client:
                return client.get("/healthz", host=host).status == 503

        eventually(refused, "a refusal")
        stack.close()
        eventually(lambda: not refused(), "room again")
