"""Start, reload and end of a node, over a worker that only counts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from cdn.config import parse
from cdn.config.values import Config
from cdn.control.log import NodeLog
from cdn.control.node import CannotStartError, Node, merge

from .fakes import FakeWorker

SITE = """
node: {name: edge-1}
listen: [http://127.0.0.1:8080]
workers: 4
log: {access: {to: LOG}}
timeouts: {drain: 3s}
origins: {app: {servers: [http://127.0.0.1:9000]}}
routes: [{match: {path: /*}, origin: app}]
"""


class Run:
    """A node in a loop of this test, its log and its worker."""

    def __init__(self, tmp_path: Path) -> None:
        self.log = tmp_path / "access.log"
        self.lines: list[bytes] = []
        self.text = SITE.replace("LOG", str(self.log))
        self.config = parse(self.text)
        self.worker = FakeWorker(self.config)

    def read(self) -> Config:
        try:
            return parse(self.text)
        except Exception as error:
            raise ValueError(str(error).splitlines()[0]) from error

    def during(self, act: Callable[[Node], Awaitable[None]], drain: float | None = None) -> int:
        """Runs the node with `act` beside it; the exit code."""

        async def main() -> int:
            node = Node(
                self.config,
                lambda _config, _log, _report: self.worker,
                NodeLog(self.lines.append),
                read_config=self.read,
                drain=drain,
            )
            up = asyncio.Event()
            running = asyncio.create_task(node.run(up.set))
            await up.wait()
            await act(node)
            return await asyncio.wait_for(running, 10)

        return asyncio.run(main())

    @property
    def said(self) -> str:
        return b"".join(line[21:] for line in self.lines).decode()


def test_it_says_where_it_listens_and_what_it_does_not_do(tmp_path: Path) -> None:
    run = Run(tmp_path)

    async def act(node: Node) -> None:
        assert node.ready
        run.worker.finish.set()
        node.leave()
        assert node.stats()["access_log"] == {"dropped": 0, "lost": 0, "waiting": 0}

    assert run.during(act) == 0
    assert "node edge-1" in run.said
    assert "listening on http://127.0.0.1:8080\n" in run.said
    assert "workers: 4: runs one worker until the store is shared by several\n" in run.said
    assert run.worker.calls == ["start", "drain 3", "stop"]
    assert run.log.exists()


def test_a_drain_that_ends_in_time_is_clean_and_not_ready(tmp_path: Path) -> None:
    run = Run(tmp_path)

    async def act(node: Node) -> None:
        node.leave()
        await asyncio.sleep(0.1)
        assert not node.ready
        run.worker.finish.set()

    assert run.during(act) == 0
    assert "ended\n" in run.said


def test_a_drain_is_bounded(tmp_path: Path) -> None:
    run = Run(tmp_path)

    async def act(node: Node) -> None:
        node.leave()

    began = time.monotonic()
    assert run.during(act, drain=0.2) == 1
    assert time.monotonic() - began < 3
    assert "connections that were not finished are cut" in run.said


def test_a_second_signal_leaves_at_once(tmp_path: Path) -> None:
    run = Run(tmp_path)

    async def act(node: Node) -> None:
        node.leave()
        await asyncio.sleep(0.05)
        node.leave()

    began = time.monotonic()
    assert run.during(act, drain=30) == 1
    assert time.monotonic() - began < 3
    assert run.worker.calls[-1] == "stop"


def test_a_reload_takes_what_it_can_and_names_the_rest(tmp_path: Path) -> None:
    run = Run(tmp_path)

    async def act(node: Node) -> None:
        run.text = run.text.replace("path: /*", "path: /new").replace("8080", "8081")
        assert await node.reload()
        run.worker.finish.set()
        node.leave()
        assert node.stats()["reloads"] == {"done": 1, "refused": 0}

    assert run.during(act) == 0
    taken = run.worker.reloaded[0]
    assert taken.routes[0].match.path == "/new"
    assert taken.listen == run.config.listen
    assert "reloaded <text>; listen as before until the next start\n" in run.said


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("origin: app", "orgin: app", "did you mean `origin`?; the old configuration stays\n"),
        (
            "path: /*",
            "path: /refused",
            "reload: this route cannot be compiled; the old configuration stays\n",
        ),
    ],
)
def test_a_bad_reload_changes_nothing_and_is_one_line(
    tmp_path: Path, old: str, new: str, sentence: str
) -> None:
    run = Run(tmp_path)

    async def act(node: Node) -> None:
        before = len(run.lines)
        run.text = run.text.replace(old, new)
        assert not await node.reload()
        assert len(run.lines) == before + 1
        assert node.config == run.config
        run.worker.finish.set()
        node.leave()

    assert run.during(act) == 0
    assert run.worker.reloaded == []
    assert sentence in run.said


def test_a_reload_opens_the_access_log_anew(tmp_path: Path) -> None:
    run = Run(tmp_path)

    async def act(node: Node) -> None:
        run.log.rename(tmp_path / "access.log.1")
        await node.reload()
        for _ in range(100):
            await asyncio.sleep(0.02)
            if run.log.exists():
                break
        run.worker.finish.set()
        node.leave()

    run.during(act)
    assert run.log.exists()


def test_a_start_that_fails_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.worker.fail_start = OSError(98, "Address already in use")

    async def main() -> None:
        node = Node(run.config, lambda _config, _log, _report: run.worker, NodeLog(run.lines.append))
        await node.run()

    with pytest.raises(CannotStartError, match=r"http://127\.0\.0\.1:8080: the port is in use"):
        asyncio.run(main())
    assert run.worker.calls == ["start"]


def test_an_access_log_that_cannot_be_opened(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.log.mkdir()

    async def main() -> None:
        await Node(run.config, lambda _config, _log, _report: run.worker, NodeLog(run.lines.append)).run()

    with pytest.raises(CannotStartError, match=r"log: cannot open .*: Is a directory"):
        asyncio.run(main())


def test_what_a_reload_cannot_change_is_kept() -> None:
    old = parse(SITE.replace("LOG", "stdout"))
    fresh = parse(
        SITE.replace("LOG", "stderr, format: combined").replace("8080", "8081").replace("edge-1", "edge-2")
    )
    merged, left = merge(old, fresh)
    assert left == ["listen", "node", "log.access"]
    assert (merged.listen, merged.node, merged.access_log) == (old.listen, old.node, old.access_log)
