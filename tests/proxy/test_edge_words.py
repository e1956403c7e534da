"""Requests of edges in a shield's hit lane: the same bytes as from the general lane, and none without a right code."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Iterator
from typing import Any

import pytest

from cdn._core import hmac_sha256
from cdn.rules.edge_word import LIFETIME, lasting, word
from tests.harness import HOST, Origin, Reply, Request, reply, site
from tests.harness.proxy import Proxy
from tests.proxy.lanes import told

SECRET = "a secret of more than 16 characters"
BODY = bytes(range(256)) * 4


def test_codes_are_those_of_the_standard_library() -> None:
    for size in (*range(1, 140), 1000):
        text = BODY[:size]
        for key in (b"", text, text[:64], text[:65], text * 2):
            assert hmac_sha256(key, text) == hmac.digest(key, text, hashlib.sha256)


def said(
    target: str, method: str = "GET", scheme: str = "https", host: str = HOST, now: int | None = None
) -> str:
    when = int(time.time()) if now is None else now
    return word(SECRET.encode(), now=when, scheme=scheme, method=method, host=host, target=target)


@pytest.mark.parametrize("secret", [None, SECRET.encode()])
def test_what_of_a_word_lasts(secret: bytes | None) -> None:
    value = word(secret, now=1000, scheme="http", method="GET", host="a.test", target="/")
    assert lasting(value, 1010) == (None if secret is None else ("v1;t=1000;scheme=http", LIFETIME - 10))


@pytest.fixture
def origin() -> Iterator[Origin]:
    def answer(request: Request) -> Reply:
        fields = {
            "Cache-Control": "max-age=600",
            "ETag": '"v1"',
            "Last-Modified": "Wed, 01 Jan 2025 00:00:00 GMT",
        }
        if request.target.startswith("/vary"):
            fields["Vary"] = "Accept-Language"
        return reply(200, fields, BODY)

    with Origin(answer) as made:
        yield made


def shield(origin: Origin, tier: str = "shield") -> dict[str, Any]:
    tree = site(origin, node={"name": "shield-1", "tier": tier})
    if tier == "shield":
        tree["edges"] = {"secret_env": "CDN_TEST_SHIELD"}
    return tree


@pytest.fixture
def proxy(origin: Origin, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    monkeypatch.setenv("CDN_TEST_SHIELD", SECRET)
    with Proxy(shield(origin)) as made:
        yield made


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    ("method", "target", "fields", "status"),
    [
        ("GET", "/a?b=c", {}, 200),
        ("HEAD", "/a", {}, 200),
        ("GET", "/a", {"If-None-Match": '"v1"'}, 304),
        ("GET", "/a", {"If-Modified-Since": "Wed, 01 Jan 2025 00:00:00 GMT"}, 304),
        ("GET", "/a", {"Range": "bytes=5-90"}, 206),
        ("GET", "/vary", {"Accept-Language": "de"}, 200),
        ("GET", "/a", {"X-Forwarded-For": "10.9.8.7", "Via": "1.1 edge-1", "CDN-Loop": "edge-1"}, 200),
    ],
)
def test_an_edges_hit_is_the_same_in_each_lane(
    proxy: Proxy, method: str, target: str, fields: dict[str, str], status: int, scheme: str
) -> None:
    lane = proxy._worker.lane
    first = {name: value for name, value in fields.items() if not name.startswith(("If-", "Range"))}
    client = proxy.client()
    with proxy.lanes(hit=0):
        assert client.get(target, first | {"CDN-Edge": said(target, scheme=scheme)}).status == 200
    proxy.advance(7)
    now = int(time.time())
    asked = fields | {"CDN-Edge": said(target, method, scheme, now=now)}
    lane.enabled = False
    with proxy.lanes(hit=0, general=1):
        general = client.ask(method, target, asked)
    lane.enabled = True
    with proxy.lanes(hit=1, general=0):
        hit = client.ask(method, target, asked)
    assert hit.status == status
    assert told(hit) == told(general)
    assert hit["age"] == "7"
    # what was believed holds for the edge's other requests, each with its own code
    other = f"{target}&" if "?" in target else f"{target}?x"
    client.get(other, first | {"CDN-Edge": said(other, scheme=scheme, now=now)})
    with proxy.lanes(hit=1, general=0):
        client.ask(method, other, fields | {"CDN-Edge": said(other, method, scheme, now=now)})


def test_the_scheme_is_the_words_in_the_lane_too(proxy: Proxy, origin: Origin) -> None:
    client, now = proxy.client(), int(time.time())
    for scheme in ("http", "https"):
        client.get("/a", {"CDN-Edge": said("/a", scheme=scheme, now=now)})
    assert origin.count() == 2
    with proxy.lanes(hit=3, general=0):
        for scheme in ("http", "https"):
            client.get("/a", {"CDN-Edge": said("/a", scheme=scheme, now=now)})
        client.get("/a")
    assert origin.count() == 2


def test_another_code_is_never_taken(proxy: Proxy, origin: Origin) -> None:
    client, now = proxy.client(), int(time.time())
    right = said("/a", now=now)
    client.get("/a", {"CDN-Edge": right})
    wrong = [right[:at] + ("0" if right[at] != "0" else "1") + right[at + 1 :] for at in range(-64, 0)]
    wrong += [
        right[:-1],
        right + "0",
        right.upper(),
        right.replace(";mac=", ";mic="),
        right.partition(";mac=")[0],
    ]
    wrong += [said("/b", now=now), said("/a", "HEAD", now=now), said("/a", host="other.test", now=now)]
    wrong += [right.replace("scheme=https", "scheme=http"), right[-69:], "", "v1"]
    with proxy.lanes(hit=0, general=len(wrong)):
        for value in wrong:
            client.get("/a", {"CDN-Edge": value})
    with proxy.lanes(hit=0, general=1):
        client.get("/a", [("CDN-Edge", right), ("CDN-Edge", right)])
    assert origin.count() == 2  # a client's request is one over http
    with proxy.lanes(hit=1, general=0):
        client.get("/a", {"CDN-Edge": right})


def test_what_is_believed_ends_with_its_minute(proxy: Proxy) -> None:
    client = proxy.client()
    value = said("/a")
    client.get("/a", {"CDN-Edge": value})
    with proxy.lanes(hit=1, general=0):
        client.get("/a", {"CDN-Edge": value})
    proxy.advance(LIFETIME + 1)
    with proxy.lanes(hit=0, general=1):
        client.get("/a", {"CDN-Edge": value})


def test_many_sayings_push_out_the_oldest(proxy: Proxy) -> None:
    client, now = proxy.client(), int(time.time())
    for back in range(30):
        for scheme in ("http", "https"):
            client.get("/a", {"CDN-Edge": said("/a", scheme=scheme, now=now - back)})
    with proxy.lanes(hit=60, general=0):
        for back in range(30):
            for scheme in ("http", "https"):
                client.get("/a", {"CDN-Edge": said("/a", scheme=scheme, now=now - back)})
    for ahead in range(1, 21):
        client.get("/a", {"CDN-Edge": said("/a", now=now + ahead)})
    with proxy.lanes(hit=0, general=1):
        client.get("/a", {"CDN-Edge": said("/a", scheme="http", now=now)})


def test_another_secret_forgets_what_was_believed(proxy: Proxy) -> None:
    client, value = proxy.client(), said("/a")
    client.get("/a", {"CDN-Edge": value})
    proxy._worker.site.edges.words.trust(b"another secret of 16")
    with proxy.lanes(hit=0, general=1):
        client.get("/a", {"CDN-Edge": value})


def test_an_edge_takes_no_word_into_its_lane(origin: Origin) -> None:
    with Proxy(shield(origin, "edge")) as proxy, proxy.client() as client:
        value = said("/a")
        client.get("/a")
        with proxy.lanes(hit=0, general=2):
            for _ in range(2):
                client.get("/a", {"CDN-Edge": value})
