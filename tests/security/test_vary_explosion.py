"""Variants cannot be used to push everything else out: their number per URL is bounded, and so is what they
take."""

from __future__ import annotations

import pytest

from tests.harness import Origin, RawClient, Reply, Request, fresh, request_bytes, site
from tests.harness.proxy import Proxy, is_hit
from tests.real.node import Node


def flood(count: int, vary: str, kind: type[Proxy] | type[Node], at_once: int) -> None:
    def rule(request: Request) -> Reply:
        if request.target == "/many":
            return fresh(600, bytes(100), vary=vary)
        return fresh(600, b"bystander " + request.target.encode())

    with Origin(rule, patience=60) as origin, kind(site(origin)) as proxy:
        bystanders = [f"/b{number}" for number in range(50)]
        for target in bystanders:
            proxy.get(target)
        with RawClient(proxy.port, timeout=30) as client:
            for first in range(0, count, at_once):
                numbers = range(first, first + at_once)
                client.send(b"".join(request_bytes("GET", "/many", {vary: f"xx-{n}"}) for n in numbers))
                for _ in numbers:
                    client.read_response()
        store = proxy.stats()["store"]
        assert store["used"] <= store["size"]
        # /many stays far below its share, and nobody else had to go
        assert store["objects"] <= len(bystanders) + 200, store
        assert all(is_hit(proxy.get(target)) for target in bystanders)
        last = proxy.get("/many", {vary: f"xx-{count - 1}"})
        assert is_hit(last)
        assert origin.count() <= len(bystanders) + count


@pytest.mark.parametrize("vary", ["Accept-Language", "X-Anything"])
def test_random_values(vary: str) -> None:
    flood(500, vary, Proxy, 1)


@pytest.mark.full
@pytest.mark.timeout(1200)
def test_a_hundred_thousand_random_languages() -> None:
    flood(100_000, "Accept-Language", Node, 50)  # a process of its own, and 50 requests in one piece: quicker


def test_a_vary_of_ever_new_fields_is_bounded_too() -> None:
    """An origin that names another field each time cannot make one URL a list without end."""

    def rule(request: Request) -> Reply:
        number = origin.count()
        return fresh(600, b"%d" % number, vary=f"X-Field-{number}")

    with Origin(rule) as origin, Proxy(site(origin)) as proxy, RawClient(proxy.port) as client:
        for number in range(200):
            assert client.get("/many", {f"X-Field-{number}": "1", "X-N": str(number)}).status == 200
        store = proxy.stats()["store"]
        assert store["objects"] <= 64, store


def test_values_are_compared_whole_and_with_their_case() -> None:
    with Origin(lambda request: fresh(60, request["x-v"].encode(), vary="X-V")) as origin:  # type: ignore[union-attr]
        with Proxy(site(origin)) as proxy:
            for value in ("a" * 200, "a" * 200 + "b", "A" * 200, "a,b", "a;b"):
                assert proxy.get("/a", {"X-V": value}).body.lower() == value.encode().lower()
            assert proxy.get("/a", {"X-V": "A" * 200}).body == b"A" * 200
            assert origin.count() >= 4
