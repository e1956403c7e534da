"""Ranges never make us send more than the object, nor work more than for a plain answer."""

from __future__ import annotations

import random

import pytest

from tests.harness import Origin, Reply, Request, fresh, reply, site
from tests.harness.proxy import Proxy

BODY = bytes(index % 251 for index in range(100_000))

HEAVY = {
    "1,000 first bytes": "bytes=" + ",".join(["0-0"] * 1000),
    "1,000 different": "bytes=" + ",".join(f"{number * 3}-{number * 3}" for number in range(1000)),
    "overlapping": "bytes=" + ",".join(f"{number}-" for number in range(100)),
    "whole, again and again": "bytes=" + ",".join(["0-"] * 50),
    "suffixes": "bytes=" + ",".join(f"-{number + 1}" for number in range(200)),
    "backwards": "bytes=" + ",".join(f"{number}-{number + 10}" for number in range(900, 0, -10)),
    "spaces": "bytes=" + " , ".join(["0-1"] * 500),
    "empty members": "bytes=" + "," * 5000 + "0-0",
    "huge numbers": "bytes=" + ",".join(["0-99999999999999999999"] * 100),
    "unsatisfiable, many": "bytes=" + ",".join(["999999-"] * 500),
}


@pytest.mark.parametrize("value", HEAVY.values(), ids=HEAVY)
def test_never_more_than_the_object(value: str) -> None:
    with Origin(fresh(60, BODY, content_type="text/plain")) as origin, Proxy(site(origin)) as proxy:
        proxy.get("/a")
        got = proxy.get("/a", {"Range": value})
        assert got.status in (200, 206, 416, 400)
        assert len(got.body) <= len(BODY) + 16 * 200  # at most 16 parts with their heads
        assert origin.count() == 1


def test_never_more_than_the_object_by_chance_either() -> None:
    chance = random.Random(7)
    with Origin(fresh(60, BODY)) as origin, Proxy(site(origin)) as proxy, proxy.client() as client:
        client.get("/a")
        for _ in range(200):
            ranges = []
            for _ in range(chance.randrange(1, 40)):
                first = chance.randrange(0, 120_000)
                ranges.append(
                    chance.choice([f"{first}-", f"-{first}", f"{first}-{first + chance.randrange(50_000)}"])
                )
            got = client.get("/a", {"Range": "bytes=" + ",".join(ranges)})
            assert len(got.body) <= len(BODY) + 16 * 200
        assert origin.count() == 1


def test_an_origin_is_not_asked_for_more_than_the_client_asked() -> None:
    """A range of what is not stored is forwarded as a range: an origin that honours it sends no more."""

    def rule(request: Request) -> Reply:
        if request["range"] == "bytes=0-0":
            return reply(206, {"Content-Range": "bytes 0-0/1000000000", "Cache-Control": "max-age=60"}, b"x")
        raise AssertionError(f"asked for {request['range']}")

    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        for _ in range(3):
            got = proxy.get("/huge", {"Range": "bytes=0-0"})
            assert (got.status, got.body) == (206, b"x")
        assert origin.count() <= 3
