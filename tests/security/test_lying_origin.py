"""An origin that breaks HTTP: the client gets 502 or a message cut short, nothing is stored, the next
request is right."""

from __future__ import annotations

import pytest

from tests.harness import Origin, Reply, Request, fresh, reply, site
from tests.harness.proxy import Proxy
from tests.harness.tls import tls_of

OK = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n"

BAD_HEADS = {
    "nothing": b"",
    "no HTTP": b"hello\r\n\r\n",
    "HTTP/0.9": b"<html>hello</html>",
    "other version": b"HTTP/2.0 200 OK\r\n\r\n",
    "status of two digits": b"HTTP/1.1 20 OK\r\n\r\n",
    "status of four digits": b"HTTP/1.1 2000 OK\r\n\r\n",
    "status 000": b"HTTP/1.1 000 OK\r\n\r\n",
    "signed status": b"HTTP/1.1 +20 OK\r\n\r\n",
    "two lengths": OK + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nbody",
    "a list of lengths": OK + b"Content-Length: 4, 5\r\n\r\nbody",
    "negative length": OK + b"Content-Length: -4\r\n\r\nbody",
    "no number": OK + b"Content-Length: four\r\n\r\nbody",
    "length overflow": OK + b"Content-Length: 99999999999999999999\r\n\r\nbody",
    "length and chunks": OK
    + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
    "chunked, identity": OK + b"Transfer-Encoding: chunked, identity\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
    "gzip, chunked": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
    "chunked twice": OK
    + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
    "unknown coding": OK + b"Transfer-Encoding: blue\r\n\r\nbody",
    "bare LF": b"HTTP/1.1 200 OK\nCache-Control: max-age=60\nContent-Length: 4\n\nbody",
    "bare LF in a field": OK + b"X: a\nSet-Cookie: evil=1\r\nContent-Length: 4\r\n\r\nbody",
    "bare CR in a field": OK + b"X: a\rSet-Cookie: evil=1\r\nContent-Length: 4\r\n\r\nbody",
    "folded field": OK + b"X: a\r\n b\r\nContent-Length: 4\r\n\r\nbody",
    "NUL in a field": OK + b"X: a\x00b\r\nContent-Length: 4\r\n\r\nbody",
    "control in a field": OK + b"X: a\x08b\r\nContent-Length: 4\r\n\r\nbody",
    "space before colon": OK + b"Content-Length : 4\r\n\r\nbody",
    "no colon": OK + b"nonsense\r\nContent-Length: 4\r\n\r\nbody",
    "name with a space": OK + b"Content Length: 4\r\n\r\nbody",
    "empty name": OK + b": x\r\nContent-Length: 4\r\n\r\nbody",
    "endless interim": b"HTTP/1.1 100 Continue\r\n\r\n" * 2000,
    "half a head": OK + b"Content-Le",
    "huge head": OK + b"X: " + b"y" * (1 << 20) + b"\r\n\r\n",
    "very many fields": OK + b"X: y\r\n" * 5000 + b"\r\n",
}

CUT_BODIES = {
    "length, no body": OK + b"Content-Length: 4\r\n\r\n",
    "length, half": OK + b"Content-Length: 4\r\n\r\nbo",
    "length, one missing": OK + b"Content-Length: 4\r\n\r\nbod",
    "chunks without end": OK + b"Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n",
    "half a chunk": OK + b"Transfer-Encoding: chunked\r\n\r\n4\r\nbo",
    "half a chunk size": OK + b"Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n1",
    "end without its empty line": OK + b"Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n",
    "no number as size": OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nbody\r\n0\r\n\r\n",
    "size with LF": OK + b"Transfer-Encoding: chunked\r\n\r\n4\nbody\r\n0\r\n\r\n",
    "signed size": OK + b"Transfer-Encoding: chunked\r\n\r\n+4\r\nbody\r\n0\r\n\r\n",
    "size overflow": OK + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nbody\r\n0\r\n\r\n",
    "chunk too long": OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nbody\r\n0\r\n\r\n",
    "endless extension": OK
    + b"Transfer-Encoding: chunked\r\n\r\n4;"
    + b"x" * (1 << 20)
    + b"\r\nbody\r\n0\r\n\r\n",
    "endless trailer": OK
    + b"Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n"
    + b"X: y\r\n" * 100_000
    + b"\r\n",
}


def lying_once(answer: bytes):  # type: ignore[no-untyped-def]
    """Requests for /a get `answer` and the end of the connection as long as `lying` is set."""
    state = {"lying": True}

    def rule(request: Request) -> Reply | None:
        if not state["lying"]:
            return fresh(60, b"truth")
        request.conn.send(answer)
        request.conn.close()
        return None

    return rule, state


def is_right_again(proxy: Proxy, origin: Origin, state: dict[str, bool]) -> None:
    """Once the origin tells the truth, so does the proxy: nothing of the lie is stored."""
    state["lying"] = False
    for _ in range(2):
        assert proxy.get("/a").body == b"truth"
    assert origin.count() >= 2


@pytest.mark.parametrize("answer", BAD_HEADS.values(), ids=BAD_HEADS)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_broken_head_is_502(scheme: str, answer: bytes) -> None:
    rule, state = lying_once(answer)
    with Origin(rule, tls=tls_of(scheme)) as origin, Proxy(site(origin)) as proxy:
        with proxy.client() as client:
            got = client.get("/a")
            assert got.status == 502
            assert "set-cookie" not in got
        is_right_again(proxy, origin, state)


@pytest.mark.parametrize("answer", CUT_BODIES.values(), ids=CUT_BODIES)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_broken_body_is_cut_and_not_stored(scheme: str, answer: bytes) -> None:
    rule, state = lying_once(answer)
    with Origin(rule, tls=tls_of(scheme)) as origin, Proxy(site(origin)) as proxy:
        with proxy.client() as client:
            client.request("GET", "/a")
            got = client.read_response(tolerate_abort=True)
            assert got.aborted or got.status == 502
            if got.aborted:
                client.wire.until_closed()
        is_right_again(proxy, origin, state)


@pytest.mark.parametrize("answer", CUT_BODIES.values(), ids=CUT_BODIES)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_an_http_1_0_client_is_not_fooled_by_the_end(scheme: str, answer: bytes) -> None:
    """It knows the end of a body only by the end of the connection: a cut must not look like one, so it is
    a reset or lacks bytes of a length that was said.
    """
    rule, _ = lying_once(answer)
    with Origin(rule, tls=tls_of(scheme)) as origin, Proxy(site(origin)) as proxy, proxy.client() as client:
        client.request("GET", "/a", version="HTTP/1.0")
        try:
            got = client.read_response(tolerate_abort=True)
        except ConnectionResetError:
            return
        assert got.aborted or got.status == 502 or client.wire.was_reset
        assert origin.count() >= 1


def test_a_close_delimited_body_is_taken_when_the_close_is_clean_and_not_when_it_is_a_reset() -> None:
    clean = {"yes": True}

    def rule(request: Request) -> None:
        request.conn.send(OK + b"\r\nbody")
        if clean["yes"]:
            request.conn.close()
        else:
            proxy.settle()
            request.conn.reset()

    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        clean["yes"] = False
        with proxy.client() as client:
            client.request("GET", "/a")
            got = client.read_response(tolerate_abort=True)
            assert got.aborted or client.wire.was_reset
        clean["yes"] = True
        assert proxy.get("/a").body == b"body"
        assert origin.count() == 2


def test_encoded_line_ends_in_a_location_stay_encoded() -> None:
    with (
        Origin(reply(302, {"Location": "/b%0d%0aSet-Cookie:%20evil=1"})) as origin,
        Proxy(site(origin)) as proxy,
    ):
        got = proxy.get("/a")
        assert "set-cookie" not in got
        assert got["location"] == "/b%0d%0aSet-Cookie:%20evil=1"
        assert origin.count() == 1
