"""What a reload may change, and how the counters of several workers become those of the node."""

from __future__ import annotations

from typing import Any

from cdn.config import parse
from cdn.control.node import merge
from cdn.control.totals import left_behind, total

SITE = """
node: {name: edge-1}
listen: [http://127.0.0.1:8080]
workers: 4
log: {access: {to: LOG}}
timeouts: {drain: 3s}
origins: {app: {servers: [http://127.0.0.1:9000]}}
routes: [{match: {path: /*}, origin: app}]
"""


def test_what_a_reload_cannot_change_is_kept() -> None:
    old = parse(SITE.replace("LOG", "stdout"))
    fresh = parse(
        SITE.replace("LOG", "stderr, format: combined").replace("8080", "8081").replace("edge-1", "edge-2")
    )
    merged, left = merge(old, fresh)
    assert left == ["listen", "node", "log.access"]
    assert (merged.listen, merged.node, merged.access_log) == (old.listen, old.node, old.access_log)


def test_what_a_reload_can_change_is_taken() -> None:
    old = parse(SITE.replace("LOG", "stdout"))
    fresh = parse(SITE.replace("LOG", "stderr").replace("/*", "/new").replace("3s", "4s"))
    merged, left = merge(old, fresh)
    assert left == []
    assert merged == fresh


def counters(hits: int, opened: int) -> dict[str, Any]:
    return {
        "outcomes": {"hit": hits, "miss": 1},
        "latency_ms": {"bounds": [1, 5], "counts": [hits, 1, 0], "sum_seconds": 0.5},
        "connections": {"open": opened, "accepted": 10},
        "store": {"used": 100, "objects": 7, "fills": 2},
        "origins": {"app": {"requests": hits, "servers": {"a": server(hits)}}},
    }


def server(answered: int) -> dict[str, Any]:
    latency = {"bounds": [10], "counts": [answered, 0]}
    return {"state": "up", "busy": 1, "average_ms": answered, "answered": answered, "latency_ms": latency}


def test_counters_add_up_and_what_is_common_stays() -> None:
    both = total((counters(1, 3), counters(5, 4)))
    assert both == {
        "outcomes": {"hit": 6, "miss": 2},
        "latency_ms": {"bounds": [1, 5], "counts": [6, 2, 0], "sum_seconds": 1.0},
        "connections": {"open": 7, "accepted": 20},
        "store": {"used": 100, "objects": 7, "fills": 4},
        "origins": {
            "app": {
                "requests": 6,
                "servers": {
                    "a": {
                        "state": "up",
                        "busy": 2,
                        "average_ms": 5,
                        "answered": 6,
                        "latency_ms": {"bounds": [10], "counts": [6, 0]},
                    }
                },
            }
        },
    }


def test_a_worker_leaves_its_counters_but_not_what_it_had_open() -> None:
    gone = left_behind(counters(5, 4))
    assert gone["connections"] == {"accepted": 10}
    assert "store" not in gone
    assert gone["origins"]["app"]["servers"]["a"].keys() == {"answered", "latency_ms"}
    after = total((gone, counters(1, 3)))
    assert after["connections"] == {"open": 3, "accepted": 20}
    assert after["outcomes"]["hit"] == 6
    assert after["latency_ms"]["bounds"] == [1, 5]


def test_a_name_that_only_one_has() -> None:
    assert total(({"refused": {}}, {"refused": {"head": 2}}, {"refused": {"head": 1, "body": 1}})) == {
        "refused": {"head": 3, "body": 1}
    }


def test_a_worker_leaves_counters_of_shields_behind_but_not_their_state() -> None:
    def shield(state: str, requests: int) -> dict[str, Any]:
        return {
            "shields": {"busy": 1, "servers": {"http://s": {"state": state, "busy": 1, "requests": requests}}}
        }

    gone = left_behind(shield("down", 3))
    assert gone == {"shields": {"servers": {"http://s": {"requests": 3}}}}
    assert total((gone, shield("up", 4))) == {
        "shields": {"busy": 1, "servers": {"http://s": {"state": "up", "busy": 1, "requests": 7}}}
    }


def test_a_server_is_for_the_node_as_bad_as_for_any_worker() -> None:
    def worker(state: str, up: int) -> dict[str, Any]:
        about = {"state": state, "up": up, "weight": 3, "backup": 1, "busy": 2, "ejections": 1}
        return {"origins": {"app": {"servers": {"http://a:1": about}}}}

    for states, state in (
        (("up", "ejected", "returning"), "ejected"),
        (("checking", "up", "up"), "checking"),
        (("down", "ejected", "up"), "down"),
        (("up", "up", "up"), "up"),
    ):
        both = total(worker(one, int(one not in ("ejected", "down"))) for one in states)
        assert both["origins"]["app"]["servers"]["http://a:1"] == {
            "state": state,
            "up": int(state in ("up", "checking")),
            "weight": 3,
            "backup": 1,
            "busy": 6,
            "ejections": 3,
        }
    left = left_behind(worker("ejected", 0))
    assert left == {"origins": {"app": {"servers": {"http://a:1": {"ejections": 1}}}}}
