"""What the hit lane keeps of a request that it declines is the request's own: the fill lane asks with it."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from itertools import cycle, islice
from typing import Any

import pytest

from tests.harness import Origin, Reply, eventually, fresh, reply, request_bytes, site
from tests.harness.siblings import Siblings
from tests.proxy.lanes import WARM, Ask, both


@pytest.mark.parametrize("length", [100, 5400, 6000, 9000])
def test_a_long_path_of_a_url_that_varies_reaches_the_origin_as_it_is(length: int) -> None:
    """In normal form it is three times as long; the list of what the URL varies by lay where it ends."""
    path = "/" + '"' * length
    asks = [Ask(path, fields={"User-Agent": agent}) for agent in ("a", "b", "c", "a")]
    seen = both(lambda request: fresh(60, request.target.encode(), vary="User-Agent"), asks)
    assert [target for _, target, _ in seen.asked] == ["/" + "%22" * length] * 3
    assert [answer[3] for answer in seen.answers] == [("/" + "%22" * length).encode()] * 4


def test_what_goes_while_it_is_copied_is_asked_for_as_the_request_says() -> None:
    """The answer was written over the path; whoever then asked for it asked for a piece of the answer."""
    body = b"b" * 12_000

    def rule(request: Any) -> Reply:
        return reply(200, {"Cache-Control": "max-age=600", "X-Filler": "f" * 200}, body)

    with Origin(rule) as origin, Siblings(site(origin), count=1) as node, node.client(0) as client:
        client.ask("POST", WARM)
        assert client.ask("GET", "/a").body == body
        eventually(lambda: node.memory.stats()["objects"] == 1, "it to be stored")
        pid = os.fork()
        if pid == 0:
            come_and_go(node.memory)
        try:
            for _ in range(4000):
                assert client.ask("GET", "/a").body == body
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        assert {(r.target, r["host"]) for r in origin.requests} == {(WARM, "site.test"), ("/a", "site.test")}
        lanes = node.workers[0].stats()["lanes"]
        assert lanes["hit"]
        assert lanes["fill"] > 1


def come_and_go(memory: Any) -> None:
    """Remove and store what there is, for half a minute at most."""
    try:
        memory.attach(1)
        (key,) = memory.keys()
        entry = memory.lookup(key)
        draft, body = entry.draft(), entry.read()
        del entry
        end = time.monotonic() + 30
        while time.monotonic() < end:
            memory.publish(key, draft, body)
            memory.remove(key)
    finally:
        os._exit(0)


@pytest.mark.parametrize("rounds", [1000, pytest.param(20_000, marks=pytest.mark.full)])
def test_what_is_copied_while_others_replace_it_is_one_version(rounds: int) -> None:
    """The worker is stopped at any instant, the copy of a body among them, and the memory is used again meanwhile."""
    size, together = 16_000, 20

    def rule(request: Any) -> Reply:
        return reply(200, {"Cache-Control": "max-age=600", "ETag": '"a"'}, b"a" * size)

    with Origin(rule) as origin, Siblings(site(origin), count=1) as node, node.client(0) as client:
        client.ask("POST", WARM)
        assert client.ask("GET", "/a").body == b"a" * size
        eventually(lambda: node.memory.stats()["objects"] == 1, "it to be stored")
        pid = os.fork()
        if pid == 0:
            change_often(node.memory, node.workers[0].pid)
        try:
            seen = set()
            for _ in range(rounds):
                client.send(request_bytes("GET", "/a") * together)
                for _ in range(together):
                    got = client.read_response()
                    version = (got["etag"] or "").strip('"')
                    seen.add(version)
                    assert got.body == version.encode() * size
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            os.kill(node.workers[0].pid, signal.SIGCONT)
        assert len(seen) > 5
        assert node.workers[0].stats()["lanes"]["hit"] > rounds * together // 2


def change_often(memory: Any, worker: int) -> None:
    """Other versions all the time, some while the worker stands still; for two minutes at most."""
    try:
        memory.attach(1)
        (key,) = memory.keys()
        entry = memory.lookup(key)
        draft, size = entry.draft(), entry.body_length
        del entry
        drafts = [
            (replace(draft, head=draft.head.replace(b'"a"', b'"%c"' % letter)), b"%c" % letter * size)
            for letter in range(ord("a"), ord("z") + 1)
        ]
        end, others = time.monotonic() + 120, cycle(drafts)
        while time.monotonic() < end:
            os.kill(worker, signal.SIGSTOP)
            for made, body in islice(others, 7):
                memory.publish(key, made, body)
            os.kill(worker, signal.SIGCONT)
            time.sleep(0.0001)
    finally:
        os.kill(worker, signal.SIGCONT)
        os._exit(0)
