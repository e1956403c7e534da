"""What only passes is never decompressed: a bomb costs us no more than its own bytes."""

from __future__ import annotations

import gzip
import zlib

import pytest

from tests.harness import Origin, reply, site
from tests.harness.process import Serve
from tests.harness.proxy import Proxy, is_hit

MIB = 1 << 20


def bomb(megabytes: int) -> bytes:
    """A gzip stream of zeros that opens to so much, about a thousandth of it long."""
    pack = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join(pack.compress(bytes(MIB)) for _ in range(megabytes)) + pack.flush()


CODED = {
    "gzip": ("gzip", gzip.compress(b"hello")),
    "not gzip at all": ("gzip", b"this is not gzip"),
    "cut gzip": ("gzip", gzip.compress(b"hello" * 1000)[:20]),
    "twice": ("gzip, gzip", gzip.compress(gzip.compress(b"hello"))),
    "unknown": ("blue", b"\x00\x01\x02"),
    "br that is none": ("br", b"\xff" * 100),
}


@pytest.mark.parametrize(("coding", "body"), CODED.values(), ids=CODED)
@pytest.mark.parametrize("cacheable", [True, False])
def test_bytes_pass_as_they_are(coding: str, body: bytes, cacheable: bool) -> None:
    fields = {"Content-Encoding": coding, "Cache-Control": "max-age=60" if cacheable else "no-store"}
    with Origin(reply(200, fields, body)) as origin, Proxy(site(origin)) as proxy:
        for _ in range(2):
            got = proxy.get("/a", {"Accept-Encoding": "gzip"})
            assert (got.body, got["content-encoding"]) == (body, coding)
        assert is_hit(got) == cacheable
        assert origin.count() == (1 if cacheable else 2)


def bombed(megabytes: int) -> None:
    body = bomb(megabytes)
    fields = {"Content-Encoding": "gzip", "Cache-Control": "max-age=60", "Content-Type": "text/plain"}
    with Origin(reply(200, fields, body), patience=60) as origin:
        with Serve(site(origin, store={"memory": "64 MiB"})) as node:
            node.get("/warm")
            before = node.resident()
            for _ in range(2):
                for accepted in ({"Accept-Encoding": "gzip"}, {"Accept-Encoding": "identity"}, None):
                    assert node.get("/bomb", accepted).body == body
            assert node.resident() - before < 3 * len(body) + 16 * MIB
            assert origin.count("/bomb") == 1


def test_a_bomb() -> None:
    bombed(300)


@pytest.mark.full
@pytest.mark.timeout(900)
def test_ten_gigabytes_in_ten_megabytes() -> None:
    bombed(10_000)


def test_a_request_body_is_not_opened_either() -> None:
    body = bomb(50)
    with (
        Origin(lambda request: reply(200, body=b"%d" % len(request.body))) as origin,
        Proxy(site(origin)) as proxy,
    ):
        assert proxy.ask("POST", "/a", {"Content-Encoding": "gzip"}, body).body == b"%d" % len(body)
        assert origin.last["content-encoding"] == "gzip"
