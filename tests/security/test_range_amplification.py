"""Ranges never make us send more than the object, nor work more than for a plain answer."""

from __future__ import annotations

import random

import pytest

from tests.harness import Crew, Origin, eventually, fresh, site
from tests.harness.proxy import Proxy
from tests.harness.vast import GIB, MIB, Vast, content

BODY = bytes(index % 251 for index in range(100_000))


def at_rest(proxy: Proxy) -> None:
    eventually(lambda: not proxy._worker.site.flights, "all flights to land")


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


def test_one_byte_of_a_gigabyte_costs_the_origin_one_slice() -> None:
    a = Vast(length=GIB)
    with Origin(a) as origin, Proxy(site(origin)) as proxy:
        size = proxy._worker.site.slice
        assert size <= MIB
        for _ in range(3):
            got = proxy.get("/huge", {"Range": "bytes=0-0"})
            assert (got.status, got.body) == (206, content(1, 0, 0))
            at_rest(proxy)
        assert a.sent == size
        assert origin.count() == 1
        got = proxy.get("/huge", {"Range": "bytes=-1"})
        assert (got.status, got.body) == (206, content(1, GIB - 1, GIB - 1))
        at_rest(proxy)
        assert a.sent <= 2 * size


def test_of_a_route_without_slices_an_origin_is_not_asked_for_more_than_the_client_asked() -> None:
    """A range of what is not stored is forwarded as a range: an origin that honours it sends no more."""
    a = Vast(length=GIB)
    with Origin(a) as origin, Proxy(site(origin, {"slices": False})) as proxy:
        for _ in range(3):
            got = proxy.get("/huge", {"Range": "bytes=0-0"})
            assert (got.status, got.body) == (206, content(1, 0, 0))
        assert a.sent <= 3


@pytest.mark.parametrize("value", HEAVY.values(), ids=HEAVY)
@pytest.mark.parametrize("known", [False, True], ids=["cold", "known"])
def test_many_ranges_of_what_is_not_stored(value: str, known: bool) -> None:
    """They are fetched apart while they are few, else as they were asked for: never a slice for each."""
    a = Vast(length=300 * MIB)
    with Origin(a) as origin, Proxy(site(origin)) as proxy:
        size = proxy._worker.site.slice
        if known:
            proxy.get("/huge", {"Range": "bytes=0-0"})
            at_rest(proxy)
        with proxy.client() as client:
            client.request("GET", "/huge", {"Range": value})
            got, body = client.read_head()
            if got.status == 200:
                client.reset()  # the whole, as any client may have it: a server may ignore Range
            else:
                body.rest()
        at_rest(proxy)
        slices = [request for request in origin.requests if request["if-range"]]
        assert len(slices) <= 4
        assert origin.count() <= 2 + len(slices)
        if got.status != 200:
            assert a.sent <= 5 * size + (got.status == 206) * len(got.body)


def test_overlapping_readers_pay_for_each_slice_once() -> None:
    a = Vast(length=GIB)
    with Origin(a) as origin, Proxy(site(origin)) as proxy, Crew() as crew:
        size = proxy._worker.site.slice
        tasks = [
            crew.start(proxy.get, "/huge", {"Range": f"bytes={n * 1000}-{n * 1000 + size}"})
            for n in range(1, 30)
        ]
        for n, task in zip(range(1, 30), tasks, strict=True):
            assert task.result().body == content(1, n * 1000, n * 1000 + size)
        at_rest(proxy)
        assert origin.count() == 2
        assert a.sent == 2 * size


def test_clients_that_leave_at_once_cost_two_slices_each_at_most() -> None:
    a = Vast(length=GIB)
    with Origin(a) as origin, Proxy(site(origin)) as proxy:
        size = proxy._worker.site.slice
        for number in range(5):
            with proxy.client() as client:
                client.request("GET", "/huge", {"Range": f"bytes={number * 50 * MIB}-"})
                client.read_head()
                client.reset()
        at_rest(proxy)
        # the slice that was read, the one ahead, and what went into socket buffers meanwhile
        assert origin.count() <= 5 * 4
        assert a.sent <= 5 * 4 * size
