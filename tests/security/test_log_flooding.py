"""Hostile input is counted and logged in one bounded line a request, never a traceback; label sets are
closed."""

from __future__ import annotations

import random

import pytest

from tests.harness import Origin, RawClient, fresh, site
from tests.harness.process import Serve
from tests.harness.proxy import Proxy

LINE = 4096  # the longest line of the access log


def bad_request(chance: random.Random) -> bytes:
    kind = chance.randrange(6)
    noise = bytes(chance.randrange(1, 256) for _ in range(chance.randrange(1, 200)))
    if kind == 0:
        return noise.replace(b"\n", b"") + b"\r\n\r\n"
    if kind == 1:
        return b"GET /" + noise.replace(b"\n", b"") + b" HTTP/1.1\r\nHost: site.test\r\n\r\n"
    if kind == 2:
        return b"GET / HTTP/1.1\r\nHost: " + noise.replace(b"\n", b"") + b"\r\n\r\n"
    if kind == 3:
        return b"GET / HTTP/1.1\r\nHost: site.test\r\n" + noise.replace(b"\n", b"") + b"\r\n\r\n"
    if kind == 4:
        return b"%s / HTTP/1.1\r\nHost: site.test\r\n\r\n" % (b"M%d" % chance.randrange(10**9))
    return b"GET / HTTP/1.1\r\nHost: h%d.test\r\n\r\n" % chance.randrange(10**9)


def flood(count: int) -> None:
    chance = random.Random(11)
    route = {"match": {"host": ["site.test"], "path": "/*", "method": ["GET", "HEAD"]}}
    with Origin(fresh(60)) as origin:
        with Proxy(site(origin, route=route)) as proxy:  # fails for any traceback of its own
            names = _labels(proxy.stats())
            for _ in range(count):
                with RawClient(proxy.port) as client:
                    client.send(bad_request(chance))
                    client.half_close()
                    client.wire.until_closed()
            log = proxy.log_path.read_bytes() if proxy.log(1) else b""
            assert len(log) <= count * LINE
            assert log.count(b"\n") <= count + 1
            assert len(log) / count < 1024  # the stated rate: a bad request costs less than 1 KiB of log
            assert len(proxy.reports) < 20, proxy.reports[:20]  # the node's own log does not repeat itself
            # statuses and outcomes may have appeared, a label of the attacker's choice never
            grown = _labels(proxy.stats()) - names
            assert len(grown) < 40, sorted(grown)[:50]


def _labels(tree: object, path: str = "") -> set[str]:
    if isinstance(tree, dict):
        return {name for key, value in tree.items() for name in _labels(value, f"{path}.{key}")}
    return {path}


def test_a_thousand_bad_requests() -> None:
    flood(1000)


@pytest.mark.full
@pytest.mark.timeout(900)
def test_a_hundred_thousand_bad_requests() -> None:
    flood(100_000)


def test_a_long_target_is_cut_in_the_log() -> None:
    target = "/" + "a" * 20_000
    with Origin(fresh(60)) as origin, Proxy(site(origin)) as proxy:
        for _ in range(2):
            proxy.get(target, {"User-Agent": "b" * 5000, "Referer": "\xff" * 3000})
        proxy.log(2)
        assert all(len(line) <= LINE for line in proxy.log_path.read_bytes().splitlines(keepends=True))
        assert origin.count() == 1


def test_a_real_node_says_no_traceback_either() -> None:
    chance = random.Random(12)
    with Origin(fresh(60)) as origin, Serve(site(origin)) as node:
        for _ in range(300):
            with RawClient(node.port) as client:
                client.send(bad_request(chance))
                client.half_close()
                client.wire.until_closed()
        assert node.get("/a").status == 200
        assert "Traceback" not in node.stderr + node.stdout
        assert len(node.stderr) < 20_000
