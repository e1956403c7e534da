"""The same requests down the fill lane and down the general lane.

Each run has a proxy and an origin of its own and a clock that stands still at the same time, so that what differs
between two runs differs because of the lane.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.harness import Origin, Response, reply, site
from tests.harness.proxy import Proxy

NOW = 1_790_000_000_000  # ms
WARM = "/warm-up"


@dataclass
class Ask:
    target: str = "/a"
    method: str = "GET"
    fields: dict[str, str] | list[tuple[str, str]] = field(default_factory=dict)


@dataclass
class Seen:
    answers: list[tuple[Any, ...]]
    asked: list[tuple[Any, ...]]  # by the origin
    records: dict[bytes, Any]
    log: list[dict[str, Any]]
    stats: dict[str, Any]


def told(response: Response) -> tuple[Any, ...]:
    """All of an answer but the random id of one of our own."""
    own = response["x-request-id"]
    fields = [line for line in response.fields if not (own and line[0] in ("X-Request-Id", "Content-Length"))]
    body = response.body.replace(own.encode(), b"ID") if own else response.body
    return (response.status, response.reason, fields, body, response.framing, response.aborted)


def run(
    lane: bool,
    rule: Callable[..., Any],
    asks: list[Ask],
    tree: Callable[[Origin], dict[str, Any]] = site,
    step: int = 0,
    hits: bool = True,
) -> Seen:
    """A first request leaves a kept connection behind, then `asks`, `step` ms apart; `hits`: in the hit lane."""

    def origin_rule(request: Any) -> Any:
        if request.target == WARM:
            return reply(200, {"Cache-Control": "no-store"}, b"warm")
        return rule(request)

    with Origin(origin_rule) as origin, Proxy(tree(origin)) as proxy:
        proxy.clock.advance(NOW - proxy.clock.now())
        proxy._worker.fill_lane.enabled = lane
        proxy._worker.lane.enabled = lane or hits
        answers = []
        with proxy.client() as client:
            client.ask("POST", WARM)
            for ask in asks:
                answers.append(told(client.ask(ask.method, ask.target, ask.fields)))
                proxy.clock.advance(step)
        memory = proxy._worker.memory
        return Seen(
            answers,
            [(r.method, r.target, r.fields) for r in origin.requests if r.target != WARM],
            {key: memory.lookup(key).draft() for key in memory.keys()},  # noqa: SIM118 - a store, not a dict
            proxy.log(len(asks) + 1)[1:],
            proxy.stats(),
        )


def both(
    rule: Callable[..., Any],
    asks: list[Ask],
    tree: Callable[[Origin], dict[str, Any]] = site,
    *,
    fill: int | None = None,
    step: int = 0,
    hits: bool = True,
) -> Seen:
    """Down both lanes, with the same answers, requests, records and log lines. `fill`: how many the lane took; without
    `hits` what the hit lane takes goes down the general one, too."""
    general, lane = (run(lane, rule, asks, tree, step, hits) for lane in (False, True))
    assert lane.answers == general.answers
    assert lane.asked == general.asked
    assert lane.records == general.records
    for name in ("outcomes", "no_store", "statuses", "body_bytes")[
        : 4 if hits else 2
    ]:  # the hit lane counts only hits
        assert lane.stats[name] == general.stats[name], name
    assert origins(lane) == origins(general)
    varying = {"duration_us", "origin", "origin_first_byte_us"}
    assert lines(lane.log, varying) == lines(general.log, varying)
    if fill is not None:
        assert (lane.stats["lanes"]["fill"], general.stats["lanes"]["fill"]) == (fill, 0)
    return lane


def origins(seen: Seen) -> dict[str, list[int]]:
    return {
        name: [counted[what] for what in ("requests", "errors", "bytes")]
        for name, counted in seen.stats["origins"].items()
    }


def lines(log: list[dict[str, Any]], varying: set[str]) -> list[str]:
    """What the log says, in any order, since each lane writes for itself; of what varies whether there is anything."""
    return sorted(
        repr(
            {
                name: value is None if name in varying else value
                for name, value in line.items()
                if name != "id"
            }
        )
        for line in log
    )
