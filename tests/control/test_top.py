"""`cdn top`: figures of two looks at a node, drawn as text, whatever the node has or lacks."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from cdn.cli.top import block

from .fakes import STATS, running_admin
from .test_cli import run

SERVER: dict[str, Any] = {
    "state": "up",
    "backup": 0,
    "busy": 2,
    "idle": 3,
    "answered": 100,
    "failures": {"reset": 1},
    "average_ms": 12.34,
    "latency_ms": {"bounds": [1, 10, 100], "counts": [50, 50, 0, 0], "sum_seconds": 1.0},
}


def looks() -> tuple[dict[str, Any], dict[str, Any]]:
    before = copy.deepcopy(STATS)
    before["origins"] = {
        "app": {"requests": 40, "errors": 2, "retries": 0, "servers": {"http://a:1": SERVER}}
    }
    before["bytes"] = {"out": 0}
    return before, copy.deepcopy(before)


def text(before: dict[str, Any], now: dict[str, Any], seconds: float = 2.0) -> str:
    return "\n".join(block(before, now, seconds))


def test_rates_are_what_came_between_the_looks() -> None:
    before, now = looks()
    now["outcomes"]["hit"] += 160
    now["outcomes"]["miss"] += 40
    now["outcomes"]["pass"] += 200
    now["bytes"]["out"] += 4 << 20
    now["latency_ms"]["counts"] = [5, 3, 1 + 100, 2]
    drawn = text(before, now)
    assert "requests   200/s   hit ratio 80.0 %   out 2.0 MiB/s" in drawn
    assert "hit 80" in drawn
    assert "pass 100" in drawn
    assert "p50 ≤ 10 ms  p90 ≤ 10 ms  p99 ≤ 10 ms" in drawn
    assert "store      5.0 MiB of 256.0 MiB (2 %)   12 objects   0 evicted/s" in drawn


def test_origins_and_their_servers() -> None:
    before, now = looks()
    server = now["origins"]["app"]["servers"]["http://a:1"]
    server["state"], server["answered"] = "ejected", 150
    server["failures"] = {"reset": 5, "dns": 2}
    server["latency_ms"]["counts"] = [50, 50, 30, 0]
    now["origins"]["app"].update(requests=90, retries=8, queue_waiting=4)
    lines = text(before, now).splitlines()
    (origin,) = [line for line in lines if line.startswith("app ")]
    assert origin.split()[1:] == ["25", "requests/s", "retries", "4/s", "4", "waiting"]
    (row,) = [line for line in lines if "http://a:1" in line]
    assert row.split() == ["http://a:1", "ejected", "2", "3", "25", "3", "12.3", "ms", "≤", "100", "ms"]


def test_shields_are_shown_like_the_servers_of_an_origin() -> None:
    before, now = looks()
    before["shields"] = {"requests": 10, "direct": 0, "servers": {"http://s:1": SERVER}}
    now["shields"] = {"requests": 50, "direct": 6, "servers": {"http://s:1": {**SERVER, "state": "down"}}}
    lines = text(before, now).splitlines()
    (pool,) = [line for line in lines if line.startswith("shields ")]
    assert pool.split() == ["shields", "20", "requests/s", "to", "the", "origin", "3/s"]
    (row,) = [line for line in lines if "http://s:1" in line]
    assert row.split()[1] == "down"


def test_other_nodes_and_whose_configuration_is_another() -> None:
    before, now = looks()
    one = {"node": "edge-2", "tier": "edge", "configuration": "0123456789ab", "sequence": 41, "heard_ms": 7}
    two = {**one, "node": "shield-1", "tier": "shield", "configuration": "ba9876543210"}
    now["bus"] = {
        "connected": 1,
        "sequence": 42,
        "lag": 1,
        "configuration": "0123456789ab",
        "nodes": [one, two],
    }
    lines = text(before, now).splitlines()
    assert "bus        connected   purge 42, 1 behind   configuration 0123456789ab" in lines
    (same,) = [line for line in lines if "edge-2" in line]
    assert same.split() == ["edge-2", "edge", "purge", "41"]
    (other,) = [line for line in lines if "shield-1" in line]
    assert other.endswith("another configuration: ba9876543210")
    now["bus"]["connected"] = 0
    assert "bus        CUT OFF" in text(before, now)


@pytest.mark.parametrize(
    "now",
    [
        {},
        {"bus": {"nodes": [3, {}]}, "shields": {"servers": 3}},
        {"origins": {"a": 1, "b": {"servers": {"x": 2}}}, "outcomes": 3, "store": None},
    ],
)
def test_a_node_that_lacks_figures(now: dict[str, Any]) -> None:
    drawn = text({}, now)
    assert "requests   0/s   hit ratio –" in drawn


def test_names_cannot_write_to_the_terminal() -> None:
    before, now = looks()
    now["origins"]["\x1b[2J"] = {"requests": 1, "servers": {"\x1b]0;x\x07": SERVER}}
    assert "\x1b" not in text(before, now)


def test_the_command_prints_blocks_and_ends() -> None:
    with running_admin() as admin:
        done = run("top", "--count", "2", "--every", "0.1", "--admin", f"http://127.0.0.1:{admin.port}")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("requests   0/s") == 2
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--every", "0"], 2, "0.1 to 3600"),
        (["--every", "x"], 2, "invalid"),
        (["--count", "0"], 2, "from 1"),
        (["--admin", "http://127.0.0.1:1"], 3, "cannot reach the admin listener"),
    ],
)
def test_wrong_use_is_said(arguments: list[str], code: int, said: str) -> None:
    done = run("top", "--count", "1", *arguments) if "--count" not in arguments else run("top", *arguments)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr
