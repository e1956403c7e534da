"""One table of responses, put to both clients: how each is framed, or why it is refused (RFC 9112 §6.3)."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import pytest

from tests.tier.certificates import secured
from tests.tier.scripted import Peer, asking, origin_of, run, scripted

OK = b"HTTP/1.1 200 OK\r\n"


class Case(NamedTuple):
    name: str
    wire: bytes
    status: int = 200
    body: bytes = b""
    length: int | None = None
    by_close: bool = False
    error: str | None = None
    method: str = "GET"
    close: bool = False  # the origin closes behind it
    reused: bool = True  # the connection carries another request


CASES = [
    Case("length", OK + b"Content-Length: 5\r\n\r\nhello", body=b"hello", length=5),
    Case("length zero", OK + b"Content-Length: 0\r\n\r\n", length=0),
    Case(
        "equal lengths twice",
        OK + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nhi",
        body=b"hi",
        length=2,
    ),
    Case("chunks", OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", body=b"hello"),
    Case("chunks, case", OK + b"transfer-encoding: Chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", body=b"a"),
    Case("chunk extension", OK + b"Transfer-Encoding: chunked\r\n\r\n2;a=b\r\nhe\r\n0;z\r\n\r\n", body=b"he"),
    Case("trailers", OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n0\r\nDigest: x\r\n\r\n", body=b"he"),
    Case("no chunks", OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    Case("close", OK + b"\r\nhello", body=b"hello", by_close=True, close=True, reused=False),
    Case("close, empty", OK + b"\r\n", by_close=True, close=True, reused=False),
    Case(
        "1.0 length",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        body=b"hi",
        length=2,
        close=True,
        reused=False,
    ),
    Case("1.0 close", b"HTTP/1.0 200 OK\r\n\r\nhi", body=b"hi", by_close=True, close=True, reused=False),
    Case(
        "connection close",
        OK + b"Connection: close\r\nContent-Length: 2\r\n\r\nhi",
        body=b"hi",
        length=2,
        reused=False,
    ),
    Case("204", b"HTTP/1.1 204 No Content\r\n\r\n", 204, length=0),
    Case("304 with length", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n", 304, length=0),
    Case("HEAD with length", OK + b"Content-Length: 99\r\n\r\n", length=0, method="HEAD"),
    Case("HEAD chunked", OK + b"Transfer-Encoding: chunked\r\n\r\n", length=0, method="HEAD"),
    Case("HEAD without either", OK + b"\r\n", length=0, method="HEAD"),
    Case("404 with a body", b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno", 404, b"no", 2),
    Case(
        "redirect not followed",
        b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n",
        302,
        length=0,
    ),
    Case("no reason", b"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", length=0),
    Case(
        "100 first",
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nhi",
        body=b"hi",
        length=2,
    ),
    Case(
        "103 twice",
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 2 + OK + b"Content-Length: 2\r\n\r\nhi",
        body=b"hi",
        length=2,
    ),
    # Truncated by a clean close.
    Case(
        "length, cut",
        OK + b"Content-Length: 5\r\n\r\nhel",
        body=b"hel",
        length=5,
        error="truncated",
        close=True,
    ),
    Case("length, nothing", OK + b"Content-Length: 5\r\n\r\n", length=5, error="truncated", close=True),
    Case(
        "chunks, cut",
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhel",
        body=b"hel",
        error="truncated",
        close=True,
    ),
    Case(
        "chunks, no end",
        OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n",
        body=b"hel",
        error="truncated",
        close=True,
    ),
    Case("nothing at all", b"", 0, error="reset", close=True),
    Case("half a head", OK + b"Content-Le", 0, error="reset", close=True),
    # Lies about framing.
    Case(
        "TE and CL",
        OK + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        0,
        error="malformed",
    ),
    Case(
        "CL and TE",
        OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        0,
        error="malformed",
    ),
    Case(
        "TE chunked, identity",
        OK + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        0,
        error="malformed",
    ),
    Case("TE gzip, chunked", OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 0, error="malformed"),
    Case("TE identity", OK + b"Transfer-Encoding: identity\r\n\r\nhello", 0, error="malformed", close=True),
    Case(
        "TE twice",
        OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        0,
        error="malformed",
    ),
    Case(
        "TE in 1.0", b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 0, error="malformed"
    ),
    Case("lengths differ", OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nhi!", 0, error="malformed"),
    Case("length list differs", OK + b"Content-Length: 2, 3\r\n\r\nhi!", 0, error="malformed"),
    Case("length signed", OK + b"Content-Length: +2\r\n\r\nhi", 0, error="malformed"),
    Case("length negative", OK + b"Content-Length: -2\r\n\r\nhi", 0, error="malformed"),
    Case("length hex", OK + b"Content-Length: 0x2\r\n\r\nhi", 0, error="malformed"),
    Case("length huge", OK + b"Content-Length: 99999999999999999999\r\n\r\nhi", 0, error="malformed"),
    Case("length empty", OK + b"Content-Length: \r\n\r\nhi", 0, error="malformed"),
    Case(
        "chunk size signed",
        OK + b"Transfer-Encoding: chunked\r\n\r\n+2\r\nhi\r\n0\r\n\r\n",
        error="malformed",
    ),
    Case(
        "chunk size empty", OK + b"Transfer-Encoding: chunked\r\n\r\n\r\nhi\r\n0\r\n\r\n", error="malformed"
    ),
    Case(
        "chunk size 0x", OK + b"Transfer-Encoding: chunked\r\n\r\n0x2\r\nhi\r\n0\r\n\r\n", error="malformed"
    ),
    Case(
        "chunk size overflow",
        OK + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nhi\r\n0\r\n\r\n",
        error="malformed",
    ),
    Case(
        "chunk longer than its size",
        OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi!\r\n0\r\n\r\n",
        body=b"hi",
        error="malformed",
    ),
    Case(
        "chunk ends in LF",
        OK + b"Transfer-Encoding: chunked\r\n\r\n2\nhi\n0\n\n",
        error="malformed",
    ),
    # Not HTTP/1.1 at all.
    Case(
        "101 unasked",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        0,
        error="malformed",
    ),
    Case("control in a value", OK + b"X: a\x01b\r\nContent-Length: 0\r\n\r\n", 0, error="malformed"),
    Case("NUL in a value", OK + b"X: a\x00b\r\nContent-Length: 0\r\n\r\n", 0, error="malformed"),
    Case("bare CR in a value", OK + b"X: a\rY: b\r\nContent-Length: 0\r\n\r\n", 0, error="malformed"),
    Case(
        "space before the colon",
        OK + b"X : a\r\nContent-Length: 0\r\n\r\n",
        0,
        error="malformed",
    ),
    Case("bare LF", OK.replace(b"\r", b"") + b"Content-Length: 0\n\n", 0, error="malformed"),
    Case("folded line", OK + b"X: a\r\n b\r\nContent-Length: 0\r\n\r\n", 0, error="malformed"),
    Case("HTTP/2.0", b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", 0, error="malformed"),
    Case("HTTP/0.9", b"hello, no head here\r\n\r\n", 0, error="malformed"),
    Case("four digits", b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n", 0, error="malformed"),
    Case(
        "1xx with a length",
        b"HTTP/1.1 103 E\r\nContent-Length: 3\r\n\r\nabc" + OK + b"Content-Length: 0\r\n\r\n",
        0,
        error="malformed",
    ),
    Case(
        "1xx without end",
        b"HTTP/1.1 102 P\r\n\r\n" * 40 + OK + b"Content-Length: 0\r\n\r\n",
        0,
        error="malformed",
    ),
    Case(
        "too many fields",
        OK + b"".join(b"X%d: y\r\n" % i for i in range(300)) + b"Content-Length: 0\r\n\r\n",
        0,
        error="malformed",
    ),
    Case(
        "head too large", OK + b"X: " + b"y" * 70_000 + b"\r\nContent-Length: 0\r\n\r\n", 0, error="malformed"
    ),
    # Leftovers: dropped, and the connection is not used again.
    Case("length, surplus", OK + b"Content-Length: 2\r\n\r\nhi!!", body=b"hi", length=2, reused=False),
    Case(
        "length, a second response",
        (OK + b"Content-Length: 2\r\n\r\nhi") * 2,
        body=b"hi",
        length=2,
        reused=False,
    ),
    Case("chunks, surplus", OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nhi", reused=False),
    Case("204 with a body", b"HTTP/1.1 204 No\r\nContent-Length: 2\r\n\r\nhi", 204, length=0, reused=False),
    Case("304 with a body", b"HTTP/1.1 304 No\r\nContent-Length: 2\r\n\r\nhi", 304, length=0, reused=False),
    Case("HEAD with a body", OK + b"Content-Length: 2\r\n\r\nhi", length=0, method="HEAD", reused=False),
    Case(
        "204 announcing a body",
        b"HTTP/1.1 204 No\r\nContent-Length: 2\r\n\r\n",
        204,
        length=0,
        reused=False,
    ),
]

NEXT = OK + b"Content-Length: 4\r\n\r\nnext"


def scripted_case(case: Case, byte_by_byte: bool):
    async def script(peer: Peer) -> None:
        if not await peer.request():
            return
        if peer.number == 1:
            if byte_by_byte:
                await peer.drip(case.wire)
            else:
                await peer.send(case.wire)
            if case.close:
                return
            if not await peer.request():
                return
        await peer.send(NEXT)
        await peer.closed()

    return script


async def check(case: Case, client: str, byte_by_byte: bool) -> None:
    async with (
        scripted(scripted_case(case, byte_by_byte), secured(client)) as origin,
        asking(client, origin_of(origin.port)) as asker,
    ):
        got = await asker.ask(case.method)
        assert got.kind == case.error, got.error
        assert got.status == case.status
        assert got.body == case.body
        if got.status:
            assert got.length == case.length
            assert got.by_close is case.by_close
            assert got.complete is (got.error is None and not case.by_close)
        if got.error is not None:
            assert got.error.status == 502
            assert got.error.server == f"{'https' if client == 'tls' else 'http'}://127.0.0.1:{origin.port}"
        await asyncio.sleep(0)
        again = await asker.ask()
        assert (again.status, again.body, again.complete) == (200, b"next", True), again.error
        reused = case.reused and case.error is None
        assert origin.connections == (1 if reused else 2)


TABLE = [(case, client) for case in CASES for client in ("own", "tls")]
IDS = [f"{case.name}-{client}" for case, client in TABLE]


@pytest.mark.parametrize(("case", "client"), TABLE, ids=IDS)
def test_whole(case: Case, client: str) -> None:
    run(check(case, client, byte_by_byte=False))


DRIPPED = [(case, client) for case, client in TABLE if len(case.wire) < 300 and case.reused]


@pytest.mark.parametrize(("case", "client"), DRIPPED, ids=[f"{c.name}-{k}" for c, k in DRIPPED])
def test_byte_by_byte(case: Case, client: str) -> None:
    run(check(case, client, byte_by_byte=True))
