"""What the fill lane remembers, of a connection or of a response, is used for what is like it, and for nothing else."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from cdn import config as cdn_config
from tests.harness import Origin, Reply, fresh, reply, site
from tests.harness.proxy import Proxy
from tests.harness.site import yaml_text
from tests.proxy.lanes import WARM, Ask, both

LONG = b"the quick brown fox " * 400


def test_hosts_that_share_a_connection_and_a_route() -> None:
    """What the origin is told of the host (X-Forwarded-Host, Forwarded) is this request's."""

    def tree(origin: Origin) -> dict[str, Any]:
        return site(origin, route={"match": {"host": ["site.test", "a.test", "b.test"], "path": "/*"}})

    hosts = ["a.test", "b.test", "a.test", "site.test", "b.test"]
    asks = [Ask(f"/{n}", fields={"Host": host}) for n, host in enumerate(hosts)]
    seen = both(lambda request: fresh(60, b"x"), asks, tree, fill=len(asks))
    assert [dict(fields)["X-Forwarded-Host"] for _, _, fields in seen.asked] == hosts


def test_routes_that_share_a_connection_and_a_host() -> None:
    def route(path: str, value: str) -> dict[str, Any]:
        edits = {"request": {"set": {"X-Route": value}}}
        return {"match": {"host": ["site.test"], "path": path}, "origin": "app", "headers": edits}

    def tree(origin: Origin) -> dict[str, Any]:
        return site(origin, routes=[route("/one/*", "one"), route("/two/*", "two"), route("/*", "others")])

    asks = [Ask(path) for path in ("/one/a", "/two/a", "/one/b", "/three", "/two/b")]
    seen = both(lambda request: fresh(60, b"x"), asks, tree, fill=len(asks))
    told = [dict(fields)["X-Route"] for _, _, fields in seen.asked]
    assert told == ["one", "two", "one", "others", "two"]


@pytest.mark.parametrize("believed", [True, False])
def test_a_reload_that_ends_or_begins_trust_reaches_a_kept_connection(believed: bool) -> None:
    """`believed`: by the configuration after it."""
    trusting = {"trusted_proxies": ["127.0.0.0/8"]}
    with Origin(fresh(60, b"x")) as origin:
        before, after = ({} if believed else trusting), (trusting if believed else {})
        with Proxy(site(origin, **before)) as proxy, proxy.client() as client:
            client.ask("POST", WARM)
            client.get("/a", {"X-Forwarded-For": "192.0.2.1"})
            parsed = cdn_config.parse(yaml_text(site(origin, **after)), "test.yaml", proxy.home)

            async def reload() -> None:
                proxy._worker.reload(parsed)

            assert proxy._loop is not None
            asyncio.run_coroutine_threadsafe(reload(), proxy._loop).result(5)
            client.get("/b", {"X-Forwarded-For": "192.0.2.1"})
            assert proxy.stats()["lanes"]["fill"] == 2
        told = [dict(request.fields)["X-Forwarded-For"] for request in origin.requests[1:]]
        both_ways = {True: "192.0.2.1, 127.0.0.1", False: "127.0.0.1"}
        assert told == [both_ways[not believed], both_ways[believed]]


@pytest.mark.parametrize("first", ["", "gzip"])
def test_what_is_to_be_coded_for_one_client_is_not_for_another(first: str) -> None:
    """A response like the one before, to a request with other codings."""

    def rule(request: Any) -> Reply:
        return reply(200, {"Cache-Control": "max-age=60", "Content-Type": "text/html"}, LONG)

    def tree(origin: Origin) -> dict[str, Any]:
        return site(origin, route={"compress": ["gzip", "br"]})

    codings = [first, "gzip", "", "br", "gzip", ""]
    asks = [Ask(f"/{n}", fields={"Accept-Encoding": value}) for n, value in enumerate(codings)]
    seen = both(rule, asks, tree)
    coded = [dict(answer[2]).get("Content-Encoding", "") for answer in seen.answers]
    assert coded == codings


def test_long_tags_are_asked_about_by_the_general_lane() -> None:
    """Six of them are more than the lane has room for beside a request."""

    def rule(request: Any) -> Reply:
        value = request["x-a"]
        tag = f'"{value * 3000}"'
        return reply(200, {"Cache-Control": "max-age=60", "Vary": "X-A", "ETag": tag}, value.encode())

    asks = [Ask("/a", fields={"X-A": value}) for value in "0123456789"]
    seen = both(rule, asks, fill=6)
    questions = [dict(fields).get("If-None-Match", "") for _, _, fields in seen.asked]
    assert [len(question.split(", ")) * bool(question) for question in questions] == list(range(10))


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_what_is_longer_than_an_object_may_be_passes_the_lane(framing: str) -> None:
    lengths = [1000, 1023, 1024, 1025, 1026, 5000, 200_000]

    def rule(request: Any) -> Reply:
        length = lengths[int(request.target[1:]) % len(lengths)]
        return reply(200, {"Cache-Control": "max-age=60"}, b"x" * length, framing=framing)

    def tree(origin: Origin) -> dict[str, Any]:
        return site(origin, limits={"object": "1 KiB"})

    seen = both(rule, [Ask(f"/{n}") for n in range(2 * len(lengths))], tree)
    assert len(seen.records) == 6
