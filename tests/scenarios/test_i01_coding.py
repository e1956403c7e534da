"""Content codings through real sockets: what is coded, what the answers say, and that both lanes say the same."""

from __future__ import annotations

import gzip
import random
import time
import zlib
from collections.abc import Iterator
from typing import Any

import brotli
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdn import config as cdn_config
from cdn.proxy.coding import ENCODERS
from tests.harness import Conn, Origin, Reply, Request, Signal, reply, site, yaml_text
from tests.harness.proxy import Proxy, is_hit, ours
from tests.harness.sync import eventually
from tests.harness.wire import Response
from tests.proxy.test_flights import on_loop

BROWSER = {"Accept-Encoding": "gzip, deflate, br, zstd"}
GZIP = {"Accept-Encoding": "gzip"}
BR = {"Accept-Encoding": "br"}
TWO = {"compress": ["br", "gzip"]}
TEXT = b"".join(b"line %d of a text that repeats itself\n" % n for n in range(2000))
GZIPPED = gzip.compress(TEXT, mtime=0)
MODIFIED = "Mon, 01 Jan 2024 00:00:00 GMT"


def page(body: bytes = TEXT, **fields: str) -> Reply:
    standing = {"cache_control": "max-age=60", "content_type": "text/html", "etag": '"abc"'}
    return reply(
        200, {name.replace("_", "-").title(): text for name, text in (standing | fields).items()}, body
    )


def decoded(response: Response) -> bytes:
    coding = response["content-encoding"]
    if coding == "br":
        return bytes(brotli.decompress(response.body))
    if coding == "gzip":
        return gzip.decompress(response.body)
    if coding == "zstd":
        zstandard = pytest.importorskip("zstandard")
        return bytes(zstandard.ZstdDecompressor().decompressobj().decompress(response.body))
    assert coding is None
    return response.body


@pytest.fixture(name="pair")
def _pair() -> Iterator[tuple[Origin, Proxy]]:
    with Origin(page()) as origin, Proxy(site(origin, route=TWO)) as proxy:
        yield origin, proxy


CHOICES = {
    "a browser": (BROWSER, "br", "br, gzip"),
    "gzip": (GZIP, "gzip", "gzip"),
    "gzip first": ({"Accept-Encoding": "gzip, br;q=0.5"}, "gzip", "gzip, br;q=0.9"),
    "two lines": ([("Accept-Encoding", "gzip"), ("Accept-Encoding", "br")], "br", "br, gzip"),
    "deflate": ({"Accept-Encoding": "deflate"}, None, "identity"),
    "identity": ({"Accept-Encoding": "identity"}, None, "identity"),
    "gzip refused": ({"Accept-Encoding": "gzip;q=0"}, None, "identity"),
    "nothing": (None, None, "identity"),
    "empty": ({"Accept-Encoding": ""}, None, "identity"),
    "anything": ({"Accept-Encoding": "*"}, "br", "br, gzip"),
}


@pytest.mark.parametrize(("fields", "coding", "asked"), CHOICES.values(), ids=CHOICES)
def test_the_client_chooses(
    pair: tuple[Origin, Proxy], fields: dict[str, str] | None, coding: str | None, asked: str
) -> None:
    origin, proxy = pair
    first = proxy.get("/a", fields)
    with proxy.lanes(hit=1, general=0):
        second = proxy.get("/a", fields)
    assert origin.last.all("accept-encoding") == [asked]
    assert origin.count() == 1
    for got in (first, second):
        assert got["content-encoding"] == coding
        assert got["vary"] == "Accept-Encoding"
        assert got["etag"] == ('W/"abc"' if coding else '"abc"')
        assert decoded(got) == TEXT
    assert second["content-length"] == str(len(first.body))


def test_what_clients_say_alike_is_coded_once(pair: tuple[Origin, Proxy]) -> None:
    origin, proxy = pair
    for value in ("gzip, br", "br,gzip;q=1.0", "gzip, deflate, br, zstd", "BR, x-gzip", "*", "br, *;q=0.9"):
        assert proxy.get("/a", {"Accept-Encoding": value})["content-encoding"] == "br"
    assert origin.count() == 1
    for value in (None, "identity", "deflate", "gzip;q=0, br;q=0"):
        assert proxy.get("/a", value and {"Accept-Encoding": value}).body == TEXT
    assert origin.count() == 2
    assert proxy.stats()["coding"]["made"] == dict.fromkeys(ENCODERS, 0) | {"br": 1}


LANES = {
    "whole": ("GET", {}),
    "head": ("HEAD", {}),
    "its tag": ("GET", {"If-None-Match": 'W/"abc"'}),
    "the origin's tag": ("GET", {"If-None-Match": '"abc"'}),
    "another tag": ("GET", {"If-None-Match": '"x"'}),
    "since": ("GET", {"If-Modified-Since": MODIFIED}),
    "a range": ("GET", {"Range": "bytes=5-20"}),
    "a suffix": ("GET", {"Range": "bytes=-20"}),
    "ranges": ("GET", {"Range": "bytes=0-1, 5-6"}),
    "beyond": ("GET", {"Range": "bytes=900000-"}),
    "if-range, strong": ("GET", {"Range": "bytes=5-20", "If-Range": '"abc"'}),
    "if-range, weak": ("GET", {"Range": "bytes=5-20", "If-Range": 'W/"abc"'}),
    "if-range, date": ("GET", {"Range": "bytes=5-20", "If-Range": MODIFIED}),
}
DECLINED = {"ranges", "beyond", "if-range, weak", "if-range, date"}  # by the hit lane
EXPECTED = {
    "its tag": 304,
    "the origin's tag": 304,
    "since": 304,
    "a range": 206,
    "a suffix": 206,
    "ranges": 206,
    "beyond": 416,
}


@pytest.mark.parametrize("accept", ["br", "gzip", "identity"])
def test_both_lanes_give_the_same_bytes(accept: str) -> None:
    with (
        Origin(page(last_modified=MODIFIED)) as origin,
        Proxy(site(origin, route=TWO)) as proxy,
    ):
        whole = proxy.get("/a", {"Accept-Encoding": accept}).body
        for name, (method, more) in LANES.items():
            fields = {"Accept-Encoding": accept, **more}
            with proxy.lanes(hit=int(name not in DECLINED)):
                one = proxy.ask(method, "/a", fields)
            on_loop(proxy, lambda worker: setattr(worker.lane, "enabled", False))
            with proxy.lanes(general=1, hit=0):
                other = proxy.ask(method, "/a", fields)
            on_loop(proxy, lambda worker: setattr(worker.lane, "enabled", True))
            assert (one.status, one.fields, one.body) == (other.status, other.fields, other.body), name
            wanted = EXPECTED.get(name, 200)
            if name == "if-range, strong" and accept == "identity":
                wanted = 206  # the only tag that vouches for bytes
            assert one.status == wanted, name
            if one.status == 206 and name != "ranges":
                first, last = (5, 20) if name != "a suffix" else (len(whole) - 20, len(whole) - 1)
                assert one.body == whole[first : last + 1], name
                assert one["content-range"] == f"bytes {first}-{last}/{len(whole)}", name
            if one.status in (200, 304):
                assert one["vary"] == "Accept-Encoding", name
            if one.status in (200, 206):
                assert one["content-encoding"] == (None if accept == "identity" else accept), name
        assert origin.count() == 1


def test_the_hit_lane_takes_coded_variants(pair: tuple[Origin, Proxy]) -> None:
    _, proxy = pair
    for fields in (BROWSER, GZIP, None):
        proxy.get("/a", fields)
    with proxy.lanes(hit=5, general=0):
        assert proxy.get("/a", BROWSER)["content-encoding"] == "br"
        assert proxy.get("/a", GZIP)["content-encoding"] == "gzip"
        assert proxy.get("/a").body == TEXT
        assert proxy.ask("HEAD", "/a", BROWSER)["content-encoding"] == "br"
        assert proxy.get("/a", BROWSER | {"If-None-Match": 'W/"abc"'}).status == 304


def test_routes_have_lists_of_their_own() -> None:
    routes = [
        {"match": {"host": ["site.test"], "path": "/gz/*"}, "origin": "app", "compress": ["gzip"]},
        {"match": {"host": ["site.test"], "path": "/br/*"}, "origin": "app", "compress": ["br"]},
        {"match": {"host": ["site.test"], "path": "/*"}, "origin": "app"},
    ]
    with Origin(page()) as origin, Proxy(site(origin, routes=routes)) as proxy:
        for _ in range(2):
            for path, coding in (("/gz/a", "gzip"), ("/br/a", "br"), ("/a", None)):
                got = proxy.get(path, BROWSER)
                assert got["content-encoding"] == coding
                assert got["vary"] == ("Accept-Encoding" if coding else None)
        assert is_hit(got)
        assert origin.last["accept-encoding"] == BROWSER["Accept-Encoding"]


UNCODED = {
    "an image": page(content_type="image/png"),
    "small": page(b"x" * 1023),
    "no-transform": page(cache_control="max-age=60, no-transform"),
    "204": reply(204, {"Cache-Control": "max-age=60"}),
}


@pytest.mark.parametrize("answer", UNCODED.values(), ids=UNCODED)
def test_what_is_left_as_it_is(answer: Reply) -> None:
    with Origin(answer) as origin, Proxy(site(origin, route=TWO)) as proxy:
        for fields in (BROWSER, BROWSER, GZIP, None):
            got = proxy.get("/a", fields)
            assert got.body == answer.body
            assert (got["content-encoding"], got["vary"]) == (None, None)
        assert is_hit(got)
        assert origin.count() == 1  # one for everybody


@pytest.mark.parametrize("length", [1024, 1025, 70_000, 3_000_000])
@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("coding", ["br", "gzip", "zstd"])
def test_sizes(length: int, framing: str, coding: str) -> None:
    if coding not in ENCODERS:
        pytest.skip("zstandard is not installed")
    body = (TEXT * (length // len(TEXT) + 1))[:length]
    answer = page(body)
    answer.framing = framing
    with Origin(answer) as origin, Proxy(site(origin, route={"compress": [coding]})) as proxy:
        for _ in range(2):
            got = proxy.get("/a", {"Accept-Encoding": coding})
            assert got["content-encoding"] == coding
            assert decoded(got) == body
        assert is_hit(got)
        counted = proxy.stats()["origins"]["app"]["bytes"]
        assert counted == length


def test_an_old_client_gets_it_too(pair: tuple[Origin, Proxy]) -> None:
    _, proxy = pair
    for _ in range(2):
        with proxy.client() as client:
            got = client.ask("GET", "/a", GZIP, version="HTTP/1.0")
            assert decoded(got) == TEXT


def test_errors_are_coded_too() -> None:
    answer = reply(404, {"Cache-Control": "max-age=60", "Content-Type": "text/html"}, TEXT)
    with Origin(answer) as origin, Proxy(site(origin, route=TWO)) as proxy:
        for _ in range(2):
            got = proxy.get("/a", BROWSER)
            assert (got.status, got["content-encoding"]) == (404, "br")
            assert decoded(got) == TEXT


def own(request: Request) -> Reply:
    """An origin that knows gzip."""
    if "gzip" in (request["accept-encoding"] or ""):
        return page(GZIPPED, content_encoding="gzip", etag='"gz"')
    return page(etag='"plain"')


@pytest.mark.parametrize("vary", [None, "Accept-Encoding", "Cookie, accept-encoding"])
def test_an_origins_own_coding_is_used_as_it_is(vary: str | None) -> None:
    def rule(request: Request) -> Reply:
        answer = own(request)
        if vary:
            answer.fields.append(("Vary", vary))
        return answer

    with Origin(rule) as origin, Proxy(site(origin, route=TWO)) as proxy:
        for _ in range(2):
            got = proxy.get("/a", BROWSER)
            assert (got["content-encoding"], got["etag"]) == ("gzip", '"gz"')
            assert got["vary"] == (vary or "Accept-Encoding")
            assert got.body == GZIPPED
            only_br = proxy.get("/a", BR)
            assert (only_br["content-encoding"], only_br["etag"]) == ("br", 'W/"plain"')
            assert decoded(only_br) == TEXT
            plain = proxy.get("/a")
            assert (plain.body, plain["content-encoding"]) == (TEXT, None)
        assert origin.count() == 3


def test_what_is_not_stored_is_not_coded() -> None:
    for fields in ({"Cache-Control": "no-store"}, {"Cache-Control": "private"}, {"Set-Cookie": "a=b"}):
        answer = reply(200, {"Content-Type": "text/html", **fields}, TEXT)
        with Origin(answer) as origin, Proxy(site(origin, route=TWO)) as proxy:
            for _ in range(2):
                got = proxy.get("/a", BROWSER)
                assert (got.body, got["content-encoding"], got["vary"]) == (TEXT, None, None)
            assert origin.count() == 2


def test_a_request_may_forbid_it(pair: tuple[Origin, Proxy]) -> None:
    origin, proxy = pair
    proxy.get("/a", BROWSER)
    got = proxy.get("/a", BROWSER | {"Cache-Control": "no-transform"})
    assert (got.body, got["content-encoding"], got["etag"]) == (TEXT, None, '"abc"')
    assert origin.last["accept-encoding"] == "identity"


# --- validation


def test_a_304_renews_the_coded_variant() -> None:
    def rule(request: Request) -> Reply:
        if request["if-none-match"] == '"abc"':  # compared as it is: not every origin knows weak tags
            return reply(304, {"Cache-Control": "max-age=60", "ETag": '"abc"'})
        return page()

    with Origin(rule) as origin, Proxy(site(origin, route=TWO)) as proxy:
        first = proxy.get("/a", BROWSER)
        for _ in range(2):
            proxy.advance(61)
            with proxy.outcomes(revalidated=1):
                got = proxy.get("/a", BROWSER)
            assert (got.body, got["etag"], got["vary"]) == (first.body, 'W/"abc"', "Accept-Encoding")
            with proxy.lanes(hit=1):
                assert proxy.get("/a", BROWSER).body == first.body
        assert origin.count() == 3


def test_a_304_does_not_hand_one_coding_to_who_takes_another() -> None:
    """The weak tag of all codings is the same: it cannot tell them apart (RFC 9111 §4.3.4)."""

    def rule(request: Request) -> Reply:
        if "if-none-match" in request:
            return reply(304, {"Cache-Control": "max-age=60", "ETag": '"abc"'})
        return page()

    with Origin(rule) as origin, Proxy(site(origin, route=TWO)) as proxy:
        for fields in (BROWSER, GZIP, None, {"Accept-Encoding": "identity"}):
            got = proxy.get("/a", fields)
            assert decoded(got) == TEXT
            accept = (fields or {}).get("Accept-Encoding", "identity")
            assert (got["content-encoding"] or "identity") in accept
        assert origin.count() == 3


def test_an_origins_weak_tag_does_not_either() -> None:
    """The same where the origin compresses, as nginx does, and the route has no list."""

    def rule(request: Request) -> Reply:
        if "if-none-match" in request:
            return reply(304, {"Cache-Control": "max-age=60", "ETag": '"abc"', "Vary": "Accept-Encoding"})
        if "gzip" in (request["accept-encoding"] or ""):
            return page(GZIPPED, content_encoding="gzip", etag='W/"abc"', vary="Accept-Encoding")
        return page(vary="Accept-Encoding")

    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        assert proxy.get("/a", GZIP)["content-encoding"] == "gzip"
        got = proxy.get("/a", {"Accept-Encoding": "identity"})
        assert (got.body, got["content-encoding"]) == (TEXT, None)


def test_a_304_that_forbids_coding_ends_the_coded_variant() -> None:
    def rule(request: Request) -> Reply:
        control = "max-age=60, no-transform" if origin.count() > 1 else "max-age=60"
        if "if-none-match" in request:
            return reply(304, {"Cache-Control": control, "ETag": '"abc"'})
        return page(cache_control=control)

    with Origin(rule) as origin, Proxy(site(origin, route=TWO)) as proxy:
        proxy.get("/a", BROWSER)
        proxy.advance(61)
        assert decoded(proxy.get("/a", BROWSER)) == TEXT
        got = proxy.get("/a", BROWSER)
        assert (got.body, got["content-encoding"]) == (TEXT, None)
        assert origin.count() == 3


def test_a_client_asks_about_what_is_not_stored() -> None:
    """Its 304 comes from the origin, and names the tag that the client holds."""

    def rule(request: Request) -> Reply:
        assert request["if-none-match"] == 'W/"abc"'
        return reply(304, {"ETag": '"abc"'})

    with Origin(rule) as origin, Proxy(site(origin, route=TWO)) as proxy:
        got = proxy.get("/a", BROWSER | {"If-None-Match": 'W/"abc"'})
        assert (got.status, got["etag"], got["vary"]) == (304, 'W/"abc"', "Accept-Encoding")


# --- HEAD


def test_head_of_what_is_not_stored_tells_of_the_coded_answer(pair: tuple[Origin, Proxy]) -> None:
    _, proxy = pair
    got = proxy.ask("HEAD", "/a", BROWSER)
    assert (got["content-encoding"], got["etag"], got["content-length"]) == ("br", 'W/"abc"', None)
    assert got["vary"] == "Accept-Encoding"
    plain = proxy.ask("HEAD", "/a")
    assert (plain["content-encoding"], plain["etag"]) == (None, '"abc"')
    assert plain["content-length"] == str(len(TEXT))


def test_head_renews_the_coded_variant(pair: tuple[Origin, Proxy]) -> None:
    origin, proxy = pair
    whole = proxy.get("/a", BROWSER)
    proxy.advance(61)
    proxy.ask("HEAD", "/a", BROWSER)
    with proxy.lanes(hit=1):
        assert proxy.get("/a", BROWSER).body == whole.body
    assert [request.method for request in origin.requests] == ["GET", "HEAD"]


def test_head_of_what_would_not_be_coded() -> None:
    with Origin(page(cache_control="no-store")) as origin, Proxy(site(origin, route=TWO)) as proxy:
        got = proxy.ask("HEAD", "/a", BROWSER)
        assert (got["content-encoding"], got["content-length"]) == (None, str(len(TEXT)))


# --- ranges


def ranged(request: Request) -> Reply:
    if request["range"]:
        assert request["range"].startswith("bytes=0-")  # a slice, which takes in everything
        return reply(
            206,
            {
                "Content-Range": f"bytes 0-{len(TEXT) - 1}/{len(TEXT)}",
                "ETag": '"abc"',
                "Content-Type": "text/html",
            },
            TEXT,
        )
    return page(last_modified=MODIFIED)


def test_a_part_of_what_is_not_stored_is_the_origins() -> None:
    with Origin(ranged) as origin, Proxy(site(origin, route=TWO)) as proxy:
        got = proxy.get("/a", BROWSER | {"Range": "bytes=5-20"})
        assert (got.status, got.body, got["content-encoding"], got["etag"]) == (
            206,
            TEXT[5:21],
            None,
            '"abc"',
        )


def test_a_date_joins_no_parts() -> None:
    """The client may hold the first part of a coded answer; the origin would go on with its own bytes."""
    with Origin(ranged) as origin, Proxy(site(origin, route=TWO)) as proxy:
        got = proxy.get("/a", BROWSER | {"Range": "bytes=5-20", "If-Range": MODIFIED})
        assert got.status == 200
        assert decoded(got) == TEXT
        assert "range" not in origin.last


# --- on the way


def test_a_page_that_comes_in_parts_goes_on_in_parts() -> None:
    """What the origin has sent reaches the client though the compressor would rather wait for more."""
    go = Signal("go")

    def script(conn: Conn) -> None:
        conn.expect("GET", "/a")
        conn.head(
            200, {"Cache-Control": "max-age=60", "Content-Type": "text/html", "Transfer-Encoding": "chunked"}
        )
        conn.chunk(b"<title>first</title>")
        go.wait()
        conn.chunk(b"<p>second")
        conn.end_chunks()

    for coding, wrap in (("gzip", lambda: zlib.decompressobj(31)), ("br", brotli.Decompressor)):
        go = Signal("go")
        with Origin.scripted(script) as origin, Proxy(site(origin, route=TWO)) as proxy:
            with proxy.client() as client:
                client.request("GET", "/a", {"Accept-Encoding": coding})
                head, reader = client.read_head()
                assert head["content-encoding"] == coding
                decoder = wrap()
                step = getattr(decoder, "decompress", None) or decoder.process
                seen = b""
                while seen != b"<title>first</title>":
                    seen += step(reader.some())
                go.set()
                while data := reader.some():
                    seen += step(data)
                assert seen == b"<title>first</title><p>second"
            assert proxy.get("/a", {"Accept-Encoding": coding})["content-encoding"] == coding


def test_who_asks_while_it_is_coded_reads_along() -> None:
    half, go = Signal("half"), Signal("go")

    def script(conn: Conn) -> None:
        conn.expect("GET", "/a")
        conn.head(
            200,
            {"Cache-Control": "max-age=60", "Content-Type": "text/html", "Content-Length": str(len(TEXT))},
        )
        conn.send(TEXT[:30_000])
        half.set()
        go.wait()
        conn.send(TEXT[30_000:])

    with Origin.scripted(script) as origin, Proxy(site(origin, route=TWO)) as proxy:
        clients = [proxy.client() for _ in range(3)]
        for client in clients:
            client.request("GET", "/a", BROWSER)
            half.wait()
        eventually(lambda: proxy.stats()["exchanges"] == 3, "three who wait")
        go.set()
        bodies = {client.read_response().body for client in clients}
        assert len(bodies) == 1
        assert brotli.decompress(bodies.pop()) == TEXT


@pytest.mark.parametrize("length", [True, False])
def test_what_breaks_off_is_neither_ended_nor_stored(length: bool) -> None:
    def script(conn: Conn) -> None:
        conn.expect("GET", "/a")
        framing = {"Content-Length": str(len(TEXT))} if length else {"Transfer-Encoding": "chunked"}
        conn.head(200, {"Cache-Control": "max-age=60", "Content-Type": "text/html", **framing})
        if length:
            conn.send(TEXT[:30_000])
        else:
            conn.chunk(TEXT[:30_000])
        conn.close()

    with Origin.scripted(script, script) as origin, Proxy(site(origin, route=TWO)) as proxy:
        for _ in range(2):
            with proxy.client() as client:
                client.request("GET", "/a", GZIP)
                got = client.read_response(tolerate_abort=True)
                assert got.status == 502 or got.aborted
        assert origin.count() == 2
        assert proxy.stats()["coding"]["taken"] == 0


class Slow:
    """An encoder that takes its time, as a large piece of a large body does."""

    def __init__(self, length: int | None) -> None:
        self.work = zlib.compressobj(1, zlib.DEFLATED, 31)

    def feed(self, data: bytes) -> bytes:
        time.sleep(0.4)
        return self.work.compress(data)

    def flush(self) -> bytes:
        return self.work.flush(zlib.Z_SYNC_FLUSH)

    def finish(self) -> bytes:
        return self.work.flush()


def test_others_are_served_while_a_large_body_is_compressed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENCODERS, "gzip", Slow)
    with Origin(page()) as origin, Proxy(site(origin, route=TWO)) as proxy, proxy.client() as client:
        proxy.get("/other")
        client.request("GET", "/a", GZIP)
        origin.wait_for(1, "/a")
        eventually(lambda: proxy.stats()["coding"]["taken"] > 0, "it is being compressed")
        begin = time.monotonic()
        with proxy.lanes(hit=5):
            for _ in range(5):
                proxy.get("/other")
        assert time.monotonic() - begin < 0.3
        assert proxy.stats()["coding"]["taken"] > 0, "it was over too soon to show anything"
        assert decoded(client.read_response()) == TEXT


def test_a_client_that_leaves_leaves_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fill goes on for the store, and its encoder is given back."""
    monkeypatch.setitem(ENCODERS, "gzip", Slow)
    with Origin(page()) as origin, Proxy(site(origin, route=TWO)) as proxy:
        with proxy.client() as client:
            client.request("GET", "/a", GZIP)
            origin.wait_for(1)
            client.reset()
        eventually(lambda: proxy.stats()["flights"] == 0, "the fill has landed")
        assert proxy.stats()["coding"]["taken"] == 0
        with proxy.lanes(hit=1):
            assert decoded(proxy.get("/a", GZIP)) == TEXT


def test_the_proxy_stops_in_the_middle_of_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENCODERS, "gzip", Slow)
    with Origin(page()) as origin, Proxy(site(origin, route=TWO)) as proxy:
        client = proxy.client()
        client.request("GET", "/a", GZIP)
        origin.wait_for(1)
        eventually(lambda: proxy.stats()["coding"]["taken"] > 0, "it is being compressed")


def test_encoders_are_given_back(pair: tuple[Origin, Proxy]) -> None:
    _, proxy = pair
    for number in range(20):
        proxy.get(f"/{number}", BROWSER)
    eventually(lambda: proxy.stats()["coding"]["taken"] == 0, "all encoders are closed")


def test_without_memory_for_encoders_nothing_waits() -> None:
    with Origin(page()) as origin, Proxy(site(origin, route=TWO)) as proxy:
        on_loop(proxy, lambda worker: setattr(worker.site.coders, "budget", 400 << 10))
        assert proxy.get("/a", BROWSER)["content-encoding"] == "gzip"  # the cheaper one
        on_loop(proxy, lambda worker: setattr(worker.site.coders, "budget", 0))
        got = proxy.get("/b", BROWSER)
        assert (got.body, got["content-encoding"], got["vary"]) == (TEXT, None, "Accept-Encoding")


def test_a_body_larger_than_the_store() -> None:
    """Coded on the way all the same, through the window of what cannot be kept."""
    noise = random.Random(1).randbytes(6 << 20)
    with (
        Origin(page(noise)) as origin,
        Proxy(site(origin, route=TWO, limits={"object": "6 MiB"})) as proxy,
    ):
        got = proxy.get("/a", GZIP)  # a few bytes longer in gzip
        assert decoded(got) == noise
        assert not is_hit(proxy.get("/a", GZIP))


def test_a_route_edits_what_is_coded() -> None:
    headers = {"response": {"set": {"X-Set": "1"}, "remove": ["X-Gone"]}}
    with (
        Origin(page(x_gone="1")) as origin,
        Proxy(site(origin, route=TWO | {"headers": headers})) as proxy,
    ):
        for _ in range(2):
            got = proxy.get("/a", BROWSER)
            assert (got["x-set"], got["x-gone"], got["content-encoding"]) == ("1", None, "br")
            assert decoded(got) == TEXT


def test_fields_for_one_client_alone() -> None:
    answer = page(cache_control='max-age=60, private="x-user"', x_user="me")
    with Origin(answer) as origin, Proxy(site(origin, route=TWO)) as proxy:
        first, second = proxy.get("/a", BROWSER), proxy.get("/a", BROWSER)
        assert (first["x-user"], second["x-user"]) == ("me", None)
        for got in (first, second):
            assert (got["content-encoding"], got["etag"]) == ("br", 'W/"abc"')
            assert decoded(got) == TEXT


# --- reloads and purges


@pytest.mark.parametrize(
    ("before", "after", "asked"),
    [(["br"], ["gzip"], 2), (["br", "gzip"], [], 2), ([], ["gzip"], 2), (["gzip"], ["gzip"], 1)],
)
def test_a_reload_with_another_list(before: list[str], after: list[str], asked: int) -> None:
    with Origin(page()) as origin, Proxy(site(origin, route={"compress": before})) as proxy:
        proxy.get("/a", BROWSER)
        tree = site(origin, route={"compress": after}) | {"listen": proxy.tree["listen"]}
        again = cdn_config.parse(yaml_text(tree), "test.yaml", proxy.home)
        on_loop(proxy, lambda worker: worker.reload(again))
        got = proxy.get("/a", BROWSER)
        assert got["content-encoding"] == (after[0] if after else None)
        assert decoded(got) == TEXT
        assert origin.count() == asked
        assert is_hit(proxy.get("/a", BROWSER))


def test_invalidation_reaches_every_coding(pair: tuple[Origin, Proxy]) -> None:
    origin, proxy = pair
    for fields in (BROWSER, GZIP, None):
        proxy.get("/a", fields)
    proxy.ask("DELETE", "/a")
    for fields in (BROWSER, GZIP, None):
        assert not is_hit(proxy.get("/a", fields))
    assert origin.count("/a", "GET") == 6


def test_stale_while_revalidate_keeps_the_coding() -> None:
    answer = page(cache_control="max-age=10, stale-while-revalidate=100")
    with Origin(answer) as origin, Proxy(site(origin, route=TWO)) as proxy:
        proxy.get("/a", BROWSER)
        proxy.advance(20)
        got = proxy.get("/a", BROWSER)
        assert (is_hit(got), ours(got)["ttl"]) == (True, "-10")
        assert decoded(got) == TEXT
        origin.wait_for(2)
        eventually(lambda: int(str(ours(proxy.get("/a", BROWSER)).get("ttl", -1))) > 0, "it is renewed")
        assert proxy.get("/a", BROWSER)["content-encoding"] == "br"


# --- whatever is sent, it can be read


bodies = st.one_of(
    st.binary(max_size=3000),
    st.tuples(st.binary(min_size=1, max_size=50), st.integers(1, 4000)).map(lambda pair: pair[0] * pair[1]),
    st.integers(0, 200_000).map(lambda n: random.Random(n).randbytes(n)),
)
values = st.lists(
    st.tuples(
        st.sampled_from(["br", "gzip", "zstd", "identity", "*", "deflate"]),
        st.sampled_from(["", ";q=0", ";q=0.5", ";q=1"]),
    ).map("".join),
    max_size=4,
).map(", ".join)


def acceptable(coding: str | None, value: str) -> bool:
    """An independent reading of RFC 9110 §12.5.3, for values without repeats of a name."""
    weights = {}
    for member in value.split(", "):
        name, _, weight = member.partition(";q=")
        weights.setdefault(name, float(weight or 1))
    if coding is None:
        return True  # sent also where it is refused, rather than nothing
    return weights.get(coding, weights.get("*", 0)) > 0


@pytest.mark.timeout(120)
def test_what_is_served_is_what_the_origin_sent() -> None:
    answers: dict[str, Reply] = {}
    routes = [
        {
            "match": {"host": ["site.test"], "path": f"/{number}/*"},
            "origin": "app",
            "compress": order,
        }
        for number, order in enumerate((["br", "gzip"], ["gzip"], ["zstd", "gzip", "br"], []))
    ]
    with (
        Origin(lambda request: answers[request.target]) as origin,
        Proxy(site(origin, routes=routes)) as proxy,
    ):

        @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
        @given(
            bodies,
            st.lists(values, min_size=1, max_size=3),
            st.integers(0, 3),
            st.sampled_from(["length", "chunked"]),
            st.sampled_from(["text/html", "application/json", "image/png"]),
        )
        def run(body: bytes, accepts: list[str], route: int, framing: str, kind: str) -> None:
            target = f"/{route}/{len(answers)}"
            answers[target] = answer = page(body, content_type=kind)
            answer.framing = framing
            for accept in accepts * 2:
                got = proxy.get(target, {"Accept-Encoding": accept})
                assert decoded(got) == body
                assert acceptable(got["content-encoding"], accept)
                assert (got["etag"] == '"abc"') is (got["content-encoding"] is None)

        run()
        assert proxy.stats()["lanes"]["hit"] > 50


def whole_or_part(request: Request) -> Reply:
    """A careful origin: ranges, If-Range and conditions, a strong entity-tag, a date; it compresses nothing."""
    tag, wanted = '"abc"', request["range"]
    if (request["if-none-match"] or "").removeprefix("W/") == tag:
        return reply(304, {"ETag": tag, "Cache-Control": "max-age=60"})
    standing = {
        "ETag": tag,
        "Cache-Control": "max-age=60",
        "Content-Type": "text/html",
        "Last-Modified": MODIFIED,
    }
    if wanted is None or (request["if-range"] or tag) not in (tag, MODIFIED):
        return reply(200, standing, TEXT)
    first, _, last = wanted.removeprefix("bytes=").partition("-")
    end = min(int(last or len(TEXT)), len(TEXT) - 1)
    fields = standing | {"Content-Range": f"bytes {first}-{end}/{len(TEXT)}"}
    return reply(206, fields, TEXT[int(first) : end + 1])


@pytest.mark.parametrize("seed", range(6))
def test_parts_are_never_of_two_codings(seed: int) -> None:
    """Whatever is stored, half stored or gone: what a client may join by HTTP's rules is of one representation.

    A part belongs to what its Content-Encoding says; joined is what a strong entity-tag or a date vouched for.
    """
    chance = random.Random(seed)
    seen: dict[str, bytes] = {"identity": TEXT}  # by coding, as first served whole
    with Origin(whole_or_part) as origin, Proxy(site(origin, route=TWO)) as proxy:
        for step in range(150):
            accept = chance.choice(["br, gzip", "gzip", "identity"])
            fields = {"Accept-Encoding": accept}
            first = chance.choice([0, 10, 30_000])
            kind = chance.randrange(6)
            if kind in (0, 1):
                fields["Range"] = f"bytes={first}-{first + chance.choice([5, 40_000])}"
            elif kind == 2:
                fields["Range"] = f"bytes={first}-"
                fields["If-Range"] = chance.choice(['"abc"', 'W/"abc"', MODIFIED])
            elif kind == 3:
                fields["If-None-Match"] = chance.choice(['"abc"', 'W/"abc"', '"old"'])
            if chance.randrange(10) == 0:
                proxy.advance(61)
            if chance.randrange(12) == 0:
                proxy.ask("DELETE", "/a")
                seen = {"identity": TEXT}  # coded anew: other pieces may give other bytes
            got = proxy.ask(chance.choice(["GET", "GET", "HEAD"]) if kind > 3 else "GET", "/a", fields)
            where = f"seed {seed}, step {step}: {fields} → {got.status} {got.fields}"
            coding = got["content-encoding"] or "identity"
            if got.status == 304 or got.body == b"":
                assert got.status in (200, 304, 416), where
                continue
            assert coding in (*accept.split(", "), "identity"), where
            assert got["etag"] == ('"abc"' if coding == "identity" else 'W/"abc"'), where
            if got.status == 200:
                assert decoded(got) == TEXT, where
                seen[coding] = got.body
                continue
            assert got.status == 206, where
            if "If-Range" in fields:
                assert (coding, fields["If-Range"]) == ("identity", '"abc"'), where
            if coding in seen:
                whole = seen[coding]
                start, _, rest = (got["content-range"] or "").removeprefix("bytes ").partition("-")
                end, _, total = rest.partition("/")
                assert int(total) == len(whole), where
                assert got.body == whole[int(start) : int(end) + 1], where
        assert proxy.stats()["coding"]["made"]["br"] > 0
        assert proxy.stats()["lanes"]["hit"] > 0


def test_explain_says_what_is_asked_for(pair: tuple[Origin, Proxy]) -> None:
    _, proxy = pair
    proxy.get("/a", BROWSER)
    said: list[dict[str, Any]] = []
    url = "http://site.test/a"
    on_loop(proxy, lambda worker: said.append(worker.explain(url, list(BROWSER.items()))))
    on_loop(proxy, lambda worker: said.append(worker.explain(url, [])))
    assert (said[0]["accept_encoding"], said[0]["decision"]) == ("br, gzip", "serve")
    assert ["Content-Encoding", "br"] in said[0]["stored"]["fields"]
    assert (said[1]["accept_encoding"], said[1]["stored"]) == ("identity", None)
