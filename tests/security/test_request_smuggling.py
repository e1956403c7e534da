"""Request smuggling: whatever could be framed in two ways is refused, and the connection ends with the
refusal.

Every payload hides a request for /hidden in what one of two readers would take for a body. The origin may
see none of it: neither as a request, nor as raw bytes inside another one that it could split differently.
"""

from __future__ import annotations

import pytest

from tests.harness import Origin, chunked, reply, request_bytes, site
from tests.harness.proxy import Proxy

HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: site.test\r\n\r\n"
END = b"0\r\n\r\n"


def post(fields: bytes, body: bytes = b"", version: bytes = b"HTTP/1.1") -> bytes:
    return b"POST /front " + version + b"\r\nHost: site.test\r\n" + fields + b"\r\n" + body


REFUSED = {
    # two lengths
    "CL.TE": post(b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", END + HIDDEN),
    "TE.CL": post(b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", b"2b\r\n" + HIDDEN + b"\r\n" + END),
    "CL.TE, same length": post(b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", END + HIDDEN),
    "CL.CL": post(b"Content-Length: 0\r\nContent-Length: 41\r\n", HIDDEN),
    "CL.CL, same": post(b"Content-Length: 0\r\nContent-Length: 0\r\n", HIDDEN),
    "CL list": post(b"Content-Length: 0, 41\r\n", HIDDEN),
    "CL list, same": post(b"Content-Length: 0, 0\r\n", HIDDEN),
    "CL, TE identity": post(b"Content-Length: 41\r\nTransfer-Encoding: identity\r\n", HIDDEN),
    # forms of a length
    "CL +": post(b"Content-Length: +0\r\n", HIDDEN),
    "CL -": post(b"Content-Length: -1\r\n", HIDDEN),
    "CL hex": post(b"Content-Length: 0x29\r\n", HIDDEN),
    "CL decimal": post(b"Content-Length: 0.0\r\n", HIDDEN),
    "CL underscore": post(b"Content-Length: 4_1\r\n", HIDDEN),
    "CL with a space": post(b"Content-Length: 4 1\r\n", HIDDEN),
    "CL empty": post(b"Content-Length:\r\n", HIDDEN),
    "CL quoted": post(b'Content-Length: "41"\r\n', HIDDEN),
    "CL overflow 64": post(b"Content-Length: 18446744073709551616\r\n", HIDDEN),
    "CL overflow 32": post(b"Content-Length: 99999999999999999999999999\r\n", HIDDEN),
    "CL with vertical tab": post(b"Content-Length: \x0b0\r\n", HIDDEN),
    "CL in other digits": post("Content-Length: ٤١\r\n".encode(), HIDDEN),
    # forms of a coding
    "TE.TE": post(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", END + HIDDEN),
    "TE identity": post(b"Transfer-Encoding: identity\r\n", HIDDEN),
    "TE gzip, chunked": post(b"Transfer-Encoding: gzip, chunked\r\n", END + HIDDEN),
    "TE chunked, identity": post(b"Transfer-Encoding: chunked, identity\r\n", END + HIDDEN),
    "TE chunked, chunked": post(b"Transfer-Encoding: chunked, chunked\r\n", END + HIDDEN),
    "TE ,chunked": post(b"Transfer-Encoding: ,chunked\r\n", END + HIDDEN),
    "TE chunked,": post(b"Transfer-Encoding: chunked,\r\n", END + HIDDEN),
    "TE xchunked": post(b"Transfer-Encoding: xchunked\r\n", END + HIDDEN),
    "TE chunked;q": post(b"Transfer-Encoding: chunked;q=1\r\n", END + HIDDEN),
    "TE quoted": post(b'Transfer-Encoding: "chunked"\r\n', END + HIDDEN),
    "TE with vertical tab": post(b"Transfer-Encoding: \x0bchunked\r\n", END + HIDDEN),
    "TE with NUL": post(b"Transfer-Encoding: chunked\x00\r\n", END + HIDDEN),
    "TE with DEL": post(b"Transfer-Encoding: chunked\x7f\r\n", END + HIDDEN),
    "TE empty": post(b"Transfer-Encoding:\r\n", END + HIDDEN),
    "TE in HTTP/1.0": post(b"Transfer-Encoding: chunked\r\n", END + HIDDEN, b"HTTP/1.0"),
    # names and lines
    "space before colon": post(b"Transfer-Encoding : chunked\r\n", END + HIDDEN),
    "tab before colon": post(b"Content-Length\t: 41\r\n", HIDDEN),
    "space before name": post(b" Transfer-Encoding: chunked\r\n", END + HIDDEN),
    "folded value": post(b"Transfer-Encoding:\r\n chunked\r\n", END + HIDDEN),
    "folded other field": post(b"X: y\r\n Content-Length: 41\r\n", HIDDEN),
    "bare LF ends a field": post(b"X: y\nContent-Length: 41\r\n", HIDDEN),
    "bare CR in a field": post(b"X: y\rContent-Length: 41\r\n", HIDDEN),
    "bare LF everywhere": b"POST /front HTTP/1.1\nHost: site.test\nContent-Length: 41\n\n" + HIDDEN,
    "bare LF ends the head": b"POST /front HTTP/1.1\r\nHost: site.test\r\nContent-Length: 41\r\n\n" + HIDDEN,
    "bare LF ends the request line": b"POST /front HTTP/1.1\nHost: site.test\r\nContent-Length: 41\r\n\r\n"
    + HIDDEN,
    "CR CR LF": b"POST /front HTTP/1.1\r\r\nHost: site.test\r\nContent-Length: 41\r\n\r\n" + HIDDEN,
    "NUL in a value": post(b"X: a\x00b\r\nContent-Length: 41\r\n", HIDDEN),
    "NUL in a name": post(b"Content\x00-Length: 41\r\n", HIDDEN),
    "escape in a value": post(b"X: \x1b\r\nContent-Length: 41\r\n", HIDDEN),
    "no name": post(b": chunked\r\n", HIDDEN),
    "no colon": post(b"Transfer-Encoding\r\n", HIDDEN),
    "name with a slash": post(b"Content/Length: 41\r\n", HIDDEN),
    "name beyond ASCII": post("Tränsfer: chunked\r\n".encode("latin-1"), HIDDEN),
    "underscore is no hyphen, but braces are no token": post(b"Content{Length}: 41\r\n", HIDDEN),
    # request lines
    "two spaces": b"GET  /front HTTP/1.1\r\nHost: site.test\r\n\r\n" + HIDDEN,
    "tab": b"GET\t/front HTTP/1.1\r\nHost: site.test\r\n\r\n" + HIDDEN,
    "space in the target": b"GET /front /hidden HTTP/1.1\r\nHost: site.test\r\n\r\n" + HIDDEN,
    "trailing space": b"GET /front HTTP/1.1 \r\nHost: site.test\r\n\r\n" + HIDDEN,
    "HTTP/0.9": b"GET /front\r\n" + HIDDEN,
    "HTTP/0.9, said": b"GET /front HTTP/0.9\r\n\r\n" + HIDDEN,
    "HTTP/1.2": b"GET /front HTTP/1.2\r\nHost: site.test\r\n\r\n" + HIDDEN,
    "HTTP/2.0": b"GET /front HTTP/2.0\r\nHost: site.test\r\n\r\n" + HIDDEN,
    "the HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + HIDDEN,
    "http/1.1": b"GET /front http/1.1\r\nHost: site.test\r\n\r\n" + HIDDEN,
    "HTTP/1.10": b"GET /front HTTP/1.10\r\nHost: site.test\r\n\r\n" + HIDDEN,
    "HTTP/01.1": b"GET /front HTTP/01.1\r\nHost: site.test\r\n\r\n" + HIDDEN,
    "LF in the target": b"GET /front\nX: y HTTP/1.1\r\nHost: site.test\r\n\r\n" + HIDDEN,
    "NUL in the target": b"GET /fr\x00nt HTTP/1.1\r\nHost: site.test\r\n\r\n" + HIDDEN,
    "bytes beyond ASCII in the target": b"GET /fr\xc3\xb6nt HTTP/1.1\r\nHost: site.test\r\n\r\n" + HIDDEN,
    "no slash": b"GET front HTTP/1.1\r\nHost: site.test\r\n\r\n" + HIDDEN,
    "method with a colon": b"GET: /front HTTP/1.1\r\nHost: site.test\r\n\r\n" + HIDDEN,
    "space before the method": b" GET /front HTTP/1.1\r\nHost: site.test\r\n\r\n" + HIDDEN,
    # hosts
    "no Host": b"GET /front HTTP/1.1\r\n\r\n" + HIDDEN,
    "two Hosts": b"GET /front HTTP/1.1\r\nHost: site.test\r\nHost: site.test\r\n\r\n" + HIDDEN,
    "empty Host": b"GET /front HTTP/1.1\r\nHost:\r\n\r\n" + HIDDEN,
    "Host with a slash": b"GET /front HTTP/1.1\r\nHost: site.test/x\r\n\r\n" + HIDDEN,
    "Host with an at": b"GET /front HTTP/1.1\r\nHost: me@site.test\r\n\r\n" + HIDDEN,
    "Host with a space": b"GET /front HTTP/1.1\r\nHost: site.test x\r\n\r\n" + HIDDEN,
    "Host list": b"GET /front HTTP/1.1\r\nHost: site.test, evil.test\r\n\r\n" + HIDDEN,
    "Host with a bad port": b"GET /front HTTP/1.1\r\nHost: site.test:80x\r\n\r\n" + HIDDEN,
    "absolute form, other Host": b"GET http://site.test/front HTTP/1.1\r\nHost: evil.test\r\n\r\n" + HIDDEN,
    # chunks
    "chunk size 0x": post(b"Transfer-Encoding: chunked\r\n", b"0x29\r\n" + HIDDEN + b"\r\n" + END),
    "chunk size +": post(b"Transfer-Encoding: chunked\r\n", b"+0\r\n\r\n" + HIDDEN),
    "chunk size -": post(b"Transfer-Encoding: chunked\r\n", b"-1\r\n\r\n" + HIDDEN),
    "chunk size empty": post(b"Transfer-Encoding: chunked\r\n", b"\r\n\r\n" + HIDDEN),
    "chunk size with a space": post(b"Transfer-Encoding: chunked\r\n", b" 0\r\n\r\n" + HIDDEN),
    "chunk size overflow": post(b"Transfer-Encoding: chunked\r\n", b"10000000000000000\r\n" + HIDDEN),
    "chunk size ends with LF": post(b"Transfer-Encoding: chunked\r\n", b"0\n\r\n" + HIDDEN),
    "chunk data ends with LF": post(b"Transfer-Encoding: chunked\r\n", b"1\r\nx\n" + END + HIDDEN),
    "chunk data too long": post(b"Transfer-Encoding: chunked\r\n", b"1\r\nxy\r\n" + END + HIDDEN),
    "LF in an extension": post(b"Transfer-Encoding: chunked\r\n", b"1;a=b\nx\r\nx\r\n" + END + HIDDEN),
    "CR in an extension": post(b"Transfer-Encoding: chunked\r\n", b"1;a\rb\r\nx\r\n" + END + HIDDEN),
    "trailer ends with LF": post(b"Transfer-Encoding: chunked\r\n", b"0\r\nX: y\n\r\n" + HIDDEN),
    "end of chunks with LF": post(b"Transfer-Encoding: chunked\r\n", b"0\r\n\n" + HIDDEN),
    "trailer without colon": post(
        b"Transfer-Encoding: chunked\r\n", b"0\r\nGET /hidden HTTP/1.1\r\n\r\n" + HIDDEN
    ),
}


@pytest.fixture(scope="module")
def answers():  # type: ignore[no-untyped-def]
    """One proxy for the whole table; each payload has a connection of its own."""
    with Origin(reply(200, {"Cache-Control": "no-store"}, b"ok")) as origin, Proxy(site(origin)) as proxy:
        yield origin, proxy


@pytest.mark.parametrize("name", REFUSED)
def test_refused_and_closed(answers, name: str) -> None:  # type: ignore[no-untyped-def]
    origin, proxy = answers
    before = origin.count()
    own = f"/front-{list(REFUSED).index(name)}"  # what an earlier payload left half sent may still arrive
    with proxy.client() as client:
        client.send(REFUSED[name].replace(b"/front", own.encode()))
        answer = client.read_response()
        assert answer.status in (400, 501, 505), answer
        client.expect_closed()
    proxy.settle()
    seen = origin.requests[before:]
    assert [request.target for request in seen if not request.target.startswith("/front")] == []
    assert len([request for request in seen if request.target == own]) <= 1
    assert b"/hidden" not in b"".join(request.raw + request.body for request in seen)
    with proxy.client() as client:  # and the proxy serves on
        assert client.get("/front").body == b"ok"


@pytest.mark.parametrize(
    "name", ["CL.TE", "TE.CL", "CL.CL", "TE ,chunked", "space before colon", "bare LF everywhere"]
)
def test_refused_byte_by_byte_as_well(answers, name: str) -> None:  # type: ignore[no-untyped-def]
    origin, proxy = answers
    before = origin.count("/hidden")
    with proxy.client() as client:
        try:
            client.send_bytewise(REFUSED[name])
        except (BrokenPipeError, ConnectionResetError):
            pass  # refused before it was all sent
        rest = client.wire.until_closed()
        assert rest == b"" or rest.startswith((b"HTTP/1.1 400", b"HTTP/1.1 501"))
    proxy.settle()
    assert origin.count("/hidden") == before


TAKEN = {
    "a length": (post(b"Content-Length: 41\r\n", HIDDEN), HIDDEN),
    "a length with zeros": (post(b"Content-Length: 0041\r\n", HIDDEN), HIDDEN),
    "chunks": (post(b"Transfer-Encoding: chunked\r\n", chunked(HIDDEN)), HIDDEN),
    "coding in capitals": (post(b"Transfer-Encoding: CHUNKED\r\n", chunked(HIDDEN)), HIDDEN),
    "chunk extension": (
        post(b"Transfer-Encoding: chunked\r\n", b"29;a=b\r\n" + HIDDEN + b"\r\n" + END),
        HIDDEN,
    ),
    "chunk size with zeros": (
        post(b"Transfer-Encoding: chunked\r\n", b"00029\r\n" + HIDDEN + b"\r\n" + END),
        HIDDEN,
    ),
    "trailers": (
        post(b"Transfer-Encoding: chunked\r\n", chunked(HIDDEN, trailers={"Content-Length": "9"})),
        HIDDEN,
    ),
    "underscore name": (post(b"Content_Length: 41\r\nContent-Length: 0\r\n"), b""),
}


@pytest.mark.parametrize(("payload", "body"), TAKEN.values(), ids=TAKEN)
def test_what_is_clear_is_reframed(payload: bytes, body: bytes) -> None:
    """The origin gets one request with one framing; the request behind it is read from the right byte."""
    with Origin(reply(200, {"Cache-Control": "no-store"}, b"ok")) as origin, Proxy(site(origin)) as proxy:
        with proxy.client() as client:
            client.send(payload + request_bytes("GET", "/behind"))
            assert [client.read_response().status for _ in range(2)] == [200, 200]
        assert [(request.target, request.body) for request in origin.requests] == [
            ("/front", body),
            ("/behind", b""),
        ]
        front = origin.requests[0]
        assert len(front.all("content-length") + front.all("transfer-encoding")) <= 1


def test_a_field_cannot_bring_a_line_of_its_own() -> None:
    """Line ends that arrive encoded are refused in the path and stay encoded in the query."""
    with Origin(reply(200)) as origin, Proxy(site(origin)) as proxy:
        assert proxy.get("/a%0d%0aX-Injected:%201").status == 400
        assert proxy.get("/a?b=%0d%0aX-Injected:%201").status == 200
        assert "x-injected" not in origin.last
        assert origin.last.target == "/a?b=%0d%0aX-Injected:%201"
