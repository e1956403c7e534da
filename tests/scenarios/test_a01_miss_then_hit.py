"""What is stored is answered from the store: the whole point, first."""

from __future__ import annotations

import pytest

from tests.harness import Origin, fresh, reply, request_bytes, site
from tests.harness.proxy import Proxy, is_hit, ours


def test_a_miss_then_a_hit_with_age() -> None:
    with Origin(fresh(60, b"hello", etag='"1"', x_thing="kept")) as origin, Proxy(site(origin)) as proxy:
        with proxy.lanes(hit=0), proxy.outcomes(miss=1):
            first = proxy.get("/a")
        proxy.advance(10)
        with proxy.lanes(hit=1), proxy.outcomes(hit=1):
            second = proxy.get("/a")

        assert (first.status, first.body, first["x-thing"]) == (200, b"hello", "kept")
        assert (second.status, second.body, second["x-thing"]) == (200, b"hello", "kept")
        assert second["etag"] == '"1"'
        assert (ours(first).get("stored"), ours(first)["fwd"]) == (True, "uri-miss")
        assert is_hit(second)
        assert second["age"] == "10"
        assert second["date"] == first["date"]
        assert second["content-length"] == "5"
        assert origin.count() == 1


def test_it_expires_when_its_time_is_over() -> None:
    with Origin(lambda request: fresh(60, b"%d" % origin.count())) as origin, Proxy(site(origin)) as proxy:
        assert proxy.get("/a").body == b"1"
        proxy.advance(59)
        assert proxy.get("/a").body == b"1"
        proxy.advance(2)
        second = proxy.get("/a")
        assert second.body == b"2"
        assert ours(second)["fwd"] == "stale"


def test_the_age_it_came_with_counts() -> None:
    with Origin(fresh(60, age="50")) as origin, Proxy(site(origin)) as proxy:
        proxy.get("/a")
        proxy.advance(5)
        assert proxy.get("/a")["age"] == "55"
        proxy.advance(6)
        proxy.get("/a")
        assert origin.count() == 2


def test_a_head_is_answered_from_a_stored_get() -> None:
    with Origin(fresh(60, b"hello")) as origin, Proxy(site(origin)) as proxy:
        proxy.get("/a")
        with proxy.lanes(hit=1), proxy.client() as client:
            head = client.ask("HEAD", "/a")
            client.expect_open()  # no body follows
        assert (head.status, head.body, head["content-length"]) == (200, b"", "5")
        assert is_hit(head)
        assert origin.count() == 1


def test_a_head_miss_is_forwarded_and_stores_no_body() -> None:
    with Origin(fresh(60, b"hello")) as origin, Proxy(site(origin)) as proxy:
        assert proxy.ask("HEAD", "/a")["content-length"] == "5"
        assert proxy.get("/a").body == b"hello"


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("size", [0, 1, 16384, 16385, 300_000])
def test_every_size_and_framing_is_stored_whole(framing: str, size: int) -> None:
    body = bytes(index % 251 for index in range(size))
    answer = reply(200, {"Cache-Control": "max-age=60"}, body, framing=framing)
    with Origin(answer) as origin, Proxy(site(origin)) as proxy:
        assert proxy.get("/a").body == body
        with proxy.lanes(hit=1):
            hit = proxy.get("/a")
        assert hit.body == body
        assert hit.all("content-length") == [str(size)]
        assert "transfer-encoding" not in hit
        assert origin.count() == 1


def test_a_body_that_ends_with_its_connection_passes_and_is_not_stored() -> None:
    """Nothing proves that it is whole."""
    answer = reply(200, {"Cache-Control": "max-age=60"}, b"hello", framing="close")
    with Origin(answer) as origin, Proxy(site(origin)) as proxy:
        for _ in range(2):
            assert proxy.get("/a").body == b"hello"
        assert origin.count() == 2


def test_keys_are_the_whole_url() -> None:
    targets = ["/a", "/A", "/a/", "/a?", "/a?x", "/a?x=1", "/a%2fb", "/a/b"]
    with Origin(lambda request: fresh(60, request.target.encode())) as origin, Proxy(site(origin)) as proxy:
        for _ in range(2):
            for target in targets:
                assert proxy.get(target).body.decode().lower() == target.lower()
        assert origin.count() == len(targets)


def test_every_lane_answers_a_stored_response_alike() -> None:
    """The hit lane declines what is not plain; the answer behind it is the same, byte for byte."""
    asides = {
        "HTTP/1.0": request_bytes("GET", "/a", {"Connection": "close"}, version="HTTP/1.0"),
        "an expectation": request_bytes("GET", "/a", {"Connection": "close", "Expect": "100-continue"}),
        "request directives": request_bytes(
            "GET", "/a", {"Connection": "close", "Cache-Control": "max-age=60"}
        ),
        "the URL written differently": request_bytes(
            "GET", "http://site.test/x/../%61", {"Connection": "close"}
        ),
    }
    with Origin(fresh(60, b"hello", etag='"1"')) as origin, Proxy(site(origin)) as proxy:
        proxy.get("/a")
        with proxy.lanes(hit=1), proxy.client() as client:
            client.send(request_bytes("GET", "/a", {"Connection": "close"}))
            expected = client.wire.until_closed()
        for what, data in asides.items():
            with proxy.outcomes(hit=1), proxy.client() as client:
                client.send(data)
                assert sorted(client.wire.until_closed().split(b"\r\n")) == sorted(expected.split(b"\r\n")), (
                    what
                )
        assert origin.count() == 1


def test_a_get_with_a_body_is_not_answered_from_the_store_nor_stored() -> None:
    """What such a body means is between client and origin (RFC 9110 §9.3.1): no shared answer comes of it."""
    with Origin(lambda request: fresh(60, request.body or b"none")) as origin, Proxy(site(origin)) as proxy:
        for body in (b"one", b"two"):
            assert proxy.ask("GET", "/a", body=body).body == body
        assert proxy.get("/a").body == b"none"
        assert proxy.ask("GET", "/a", body=b"three").body == b"three"
        assert proxy.get("/a").body == b"none"
        assert origin.count() == 4


@pytest.mark.parametrize("policy", ["lru", "sieve", "s3fifo", "s3fifo-size"])
def test_a_full_store_lets_the_oldest_go_and_stays_right(policy: str) -> None:
    """Although the clock stands still: of those used in the same moment the one stored first goes."""
    body = bytes(200_000)
    with Origin(lambda request: fresh(60, request.target.encode() + body)) as origin:
        with Proxy(site(origin, store={"memory": "8 MiB", "eviction": policy})) as proxy:
            for index in range(100):  # 20 MB through 8 MiB
                assert proxy.get(f"/{index}").body == b"/%d" % index + body
            with proxy.lanes(hit=1):
                assert proxy.get("/99").body == b"/99" + body
            with proxy.lanes(hit=0):
                assert proxy.get("/0").body == b"/0" + body


def test_what_is_larger_than_the_store_passes_through() -> None:
    body = bytes(9 << 20)
    with Origin(fresh(60, body)) as origin, Proxy(site(origin, store={"memory": "8 MiB"})) as proxy:
        for _ in range(2):
            answer = proxy.get("/huge")
            assert len(answer.body) == len(body)
            assert "stored" not in ours(answer)
        assert origin.count() == 2


def test_an_object_above_the_configured_limit_is_not_stored() -> None:
    with Origin(fresh(60, bytes(2000))) as origin, Proxy(site(origin, limits={"object": "1 KiB"})) as proxy:
        for _ in range(2):
            assert len(proxy.get("/a").body) == 2000
        assert origin.count() == 2
