"""`config/cluster` as it is written: run.sh starts it, a purge on one edge holds on the other, a signal ends it.

And the pair of an edge and a shield, with other ports.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ..harness import Origin, RawClient, Response, fresh
from ..harness.process import ROOT, environment, free_port
from ..harness.sync import eventually
from ..peers import need
from .broker import binary
from .node import Node

EXAMPLE = ROOT / "config" / "cluster"
PORTS = (4222, 8081, 8082, 8181, 8182, 9091, 9092, 9191, 9192)


def moved(folder: Path) -> dict[int, int]:
    """A copy of the example whose ports are free ones; by the written port, the one instead."""
    ports = {port: free_port() for port in PORTS}
    shutil.copytree(EXAMPLE, folder / "cluster")
    shutil.copytree(ROOT / "config" / "public", folder / "public")
    for file in (folder / "cluster").glob("*.*"):
        text = file.read_text()
        file.write_text(re.sub(r"(?<=127\.0\.0\.1:)\d{4}", lambda found: str(ports[int(found[0])]), text))
    return ports


def get(port: int, target: str = "/") -> Response:
    with RawClient(port, timeout=20) as client:
        return client.get(target, host=f"127.0.0.1:{port}")


def hit(port: int) -> bool:
    return "; hit" in get(port).all("cache-status")[-1]


def tiers(port: int, target: str) -> list[str]:
    """The tiers that the answer came through, the origin's side first."""
    said = ", ".join(get(port, target).all("cache-status"))
    return [re.split("[;-]", one)[0] for one in said.split(", ")]


@pytest.mark.timeout(300)
def test_the_example_runs_as_it_is_written(tmp_path: Path) -> None:
    binary()  # a skip, or with CI a failure, that says why
    ports = moved(tmp_path)
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "nats-server").symlink_to(binary())
    (programs / "cdn").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m cdn "$@"\n')
    (programs / "cdn").chmod(0o755)
    logs = tmp_path / "logs"
    running = subprocess.Popen(
        ["sh", str(tmp_path / "cluster" / "run.sh"), str(logs)],
        env={**environment(), "PATH": f"{programs}:{os.environ['PATH']}"},
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    edges, admins = [ports[8081], ports[8082]], [ports[9091], ports[9092]]
    try:
        for port in edges:
            eventually(lambda port=port: get(port).status == 200, "an edge", 60, 0.1)
            eventually(lambda port=port: hit(port), "a hit", 20, 0.05)
        for port in admins:
            eventually(lambda port=port: stats(port)["bus"]["connected"], "the bus", 30, 0.1)
        # an edge that was up before the shields leaves them alone for a while
        paths = (f"/never/{number}" for number in itertools.count())
        eventually(
            lambda: tiers(edges[0], next(paths)) == ["shield", "edge"], "a shield to be asked", 60, 0.5
        )
        with RawClient(admins[1], timeout=20) as client:
            purged = client.ask(
                "POST", "/v1/purge", {"Content-Type": "application/json"}, b'{"all": true}',
                host=f"127.0.0.1:{admins[1]}",
            )  # fmt: skip
        sequence = json.loads(purged.body)["sequence"]
        eventually(lambda: stats(admins[0])["bus"]["sequence"] >= sequence, "the purge", 20)
        assert not hit(edges[0])
        nodes = eventually(lambda: seen(admins[0], 3), "the other nodes", 30, 0.1)
        assert nodes == ["edge-2", "shield-1", "shield-2"]
        running.send_signal(signal.SIGTERM)
        assert running.wait(60) == 143
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
            running.wait(10)
    for name in ("edge-1", "edge-2", "shield-1", "shield-2"):
        assert (logs / f"{name}.log").read_text().rstrip().endswith("ended")
        assert "Traceback" not in (logs / f"{name}.log").read_text()


def stats(admin: int) -> dict[str, dict[str, object]]:
    found: dict[str, dict[str, object]] = json.loads(get(admin, "/v1/stats").body)
    return found


def seen(admin: int, count: int) -> list[str] | None:
    nodes = stats(admin)["bus"]["nodes"]
    assert isinstance(nodes, list)
    return [str(node["node"]) for node in nodes] if len(nodes) == count else None


def test_the_pair_of_an_edge_and_a_shield(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDN_SHIELD_SECRET", "a secret of more than 16 characters")
    shield, edge = (
        yaml.safe_load((ROOT / "config" / f"{name}.yaml").read_text()) for name in ("shield", "edge")
    )
    with Origin(fresh(60, b"hello")) as origin:
        for tree in (shield, edge):
            assert tree["origins"]["app"]["servers"] == ["http://127.0.0.1:9000"]
            tree["origins"]["app"]["servers"] = [origin.url]
            tree |= {"listen": ["http://127.0.0.1:0"], "store": {"memory": "16 MiB"}, "workers": 1}
        with Node(shield) as back:
            edge["shields"]["servers"] = [f"http://127.0.0.1:{back.port}"]
            with Node(edge) as front:
                said = ", ".join(front.get("/a").all("cache-status"))
                assert [one.split(";")[0] for one in said.split(", ")] == ["shield-1", "edge-1"]
                assert [one.split(";")[0] for one in front.get("/api/a").all("cache-status")] == ["edge-1"]
        assert origin.count() == 2


@pytest.mark.parametrize("name", ["cdn@.service", "cdn-bus.service"])
def test_systemd_takes_the_units(name: str, tmp_path: Path) -> None:
    """As `systemd-analyze verify` judges them, with programs that are there."""
    judge = need("systemd-analyze")
    text = (EXAMPLE / "systemd" / name).read_text()
    for program in ("cdn", "nats-server"):
        text = text.replace(f"/opt/cdn/bin/{program}", "/bin/true")
    unit = tmp_path / name.replace("@.", "@edge-1.")
    unit.write_text(text)
    said = subprocess.run(
        [judge, "verify", "--man=no", str(unit)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    about_it = [line for line in said.stderr.splitlines() if unit.name in line]
    assert about_it == []
