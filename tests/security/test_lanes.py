"""Lanes in order, one at a time, and none sees another's bytes: random sequences over one connection against
a model.

The model is a line of code a request: what the answer must be follows from the request alone, because every
body names its URL and the body it was sent.
"""

from __future__ import annotations

import hashlib
import random

import pytest

from tests.harness import Origin, RawClient, Reply, Request, chunked, fresh, reply, request_bytes, site
from tests.harness.proxy import Proxy

LARGE = 700_000


def body_of(target: str) -> bytes:
    seed = hashlib.sha256(target.encode()).digest()
    return (seed * (LARGE // 32 + 1))[:LARGE] if target.startswith("/large") else seed


def rule(request: Request) -> Reply:
    if request.method not in ("GET", "HEAD"):
        return reply(
            200, {"Cache-Control": "no-store"}, b"got " + hashlib.sha256(request.body).hexdigest().encode()
        )
    framing = "chunked" if request.target.startswith("/c") else "length"
    if request.target.startswith("/pass"):
        return reply(200, {"Cache-Control": "no-store"}, body_of(request.target), framing=framing)
    return (
        fresh(600, body_of(request.target), etag=f'"{request.target}"')
        if framing == "length"
        else reply(
            200,
            {"Cache-Control": "max-age=600", "ETag": f'"{request.target}"'},
            body_of(request.target),
            framing="chunked",
        )
    )


TARGETS = ["/a", "/b", "/c1", "/c2", "/large1", "/large2", "/pass1", "/pass2", "/pass3"]


def one(chance: random.Random) -> tuple[bytes, str, int, bytes]:
    """(bytes to send, method, expected status, expected body)."""
    target = chance.choice(TARGETS)
    kind = chance.randrange(8)
    if kind == 0:
        body = (
            chance.randbytes(chance.choice([0, 1, 100, 70_000]))
            + b"GET /a HTTP/1.1\r\nHost: site.test\r\n\r\n"
        )
        expected = b"got " + hashlib.sha256(body).hexdigest().encode()
        if chance.random() < 0.5:
            return request_bytes("POST", "/pass-up", body=body), "POST", 200, expected
        cut = chance.randrange(1, len(body))
        data = request_bytes(
            "PUT", "/pass-up", {"Transfer-Encoding": "chunked"}, chunked(body[:cut], body[cut:])
        )
        return data, "PUT", 200, expected
    if kind == 1:
        return request_bytes("HEAD", target), "HEAD", 200, b""
    if kind == 2 and not target.startswith("/pass"):
        return request_bytes("GET", target, {"If-None-Match": f'"{target}"'}), "GET", 304, b""
    if kind == 3 and not target.startswith("/pass"):
        first = chance.randrange(0, len(body_of(target)))
        part = body_of(target)[first : first + 10]
        # stored or not, the answer of this origin is the whole body or the part
        return request_bytes("GET", target, {"Range": f"bytes={first}-{first + 9}"}), "GET", 206, part
    if kind == 4:
        return (
            request_bytes("GET", target, {"Cookie": "a=b", "X-Noise": "y" * chance.randrange(500)}),
            "GET",
            200,
            body_of(target),
        )
    return request_bytes("GET", target), "GET", 200, body_of(target)


def expect(
    client: RawClient, method: str, status: int, body: bytes, where: str, whole: bytes | None = None
) -> None:
    got = client.read_response(method)
    if status == 206 and got.status == 200:
        return  # a range of what was not stored yet: the origin here ignores Range
    assert got.status == status, where
    assert got.body == body, where


@pytest.mark.parametrize("seed", range(12))
def test_random_sequences(seed: int) -> None:
    chance = random.Random(seed)
    with Origin(rule) as origin, Proxy(site(origin, store={"memory": "16 MiB"})) as proxy:
        for _ in range(4):
            with proxy.client() as client:
                steps = [one(chance) for _ in range(25)]
                stream = b"".join(step[0] for step in steps)
                if chance.random() < 0.5:  # all at once, or in pieces that mind no border
                    client.send(stream)
                else:
                    position = 0
                    while position < len(stream):
                        size = chance.choice([1, 3, 50, 1000, 40_000])
                        client.send(stream[position : position + size])
                        position += size
                for number, (_, method, status, body) in enumerate(steps):
                    expect(client, method, status, body, f"seed {seed}, step {number}")
                client.expect_open(0.01)
            if chance.random() < 0.5:  # leave in the middle of something
                rude = proxy.client()
                rude.send(b"".join(one(chance)[0] for _ in range(5))[: chance.randrange(1, 400)])
                rude.reset()
        assert all(request.target.startswith("/") for request in origin.requests)
        assert proxy.stats()["lanes"]["hit"] > 0
