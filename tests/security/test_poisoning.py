"""Unkeyed input never shows in another client's answer.

The origin here reflects everything it is sent. An attacker asks first, with every trick known; a plain client
asks for the same URL afterwards and must find no trace.
"""

from __future__ import annotations

import pytest

from tests.harness import FieldsLike, Origin, Reply, Request, chunked, fresh, reply, request_bytes, site
from tests.harness.proxy import Proxy

MARK = "evil.test"

FIELDS: dict[str, FieldsLike] = {
    "X-Forwarded-Host": {"X-Forwarded-Host": MARK},
    "X-Forwarded-Host, twice": [("X-Forwarded-Host", "site.test"), ("X-Forwarded-Host", MARK)],
    "X-Forwarded-Proto": {"X-Forwarded-Proto": MARK},
    "X-Forwarded-Scheme": {"X-Forwarded-Scheme": MARK},
    "X-Forwarded-Port": {"X-Forwarded-Port": MARK},
    "X-Forwarded-Prefix": {"X-Forwarded-Prefix": "/" + MARK},
    "X-Forwarded-Server": {"X-Forwarded-Server": MARK},
    "X-Forwarded-For": {"X-Forwarded-For": MARK},
    "X-Forwarded-Path": {"X-Forwarded-Path": "/" + MARK},
    "Forwarded": {"Forwarded": f"host={MARK};proto=https"},
    "X-Host": {"X-Host": MARK},
    "X-Original-Host": {"X-Original-Host": MARK},
    "X-Original-URL": {"X-Original-URL": "/" + MARK},
    "X-Rewrite-URL": {"X-Rewrite-URL": "/" + MARK},
    "X-Original-URI": {"X-Original-URI": "/" + MARK},
    "X-HTTP-Method-Override": {"X-HTTP-Method-Override": MARK},
    "X-HTTP-Method": {"X-HTTP-Method": MARK},
    "X-Method-Override": {"X-Method-Override": MARK},
    "X-Real-IP": {"X-Real-IP": MARK},
    "mixed case": {"x-FORWARDED-hOST": MARK},
    "listed as hop-by-hop": {"Connection": "X-Forwarded-Host, Host", "X-Forwarded-Host": MARK},
}


def reflect(request: Request) -> Reply:
    return fresh(60, request.raw + b"|" + request.body)


@pytest.mark.parametrize("fields", FIELDS.values(), ids=FIELDS)
def test_fields_that_rewrite_a_request(fields: FieldsLike) -> None:
    with Origin(reflect) as origin, Proxy(site(origin)) as proxy:
        proxy.get("/a", fields)
        plain = proxy.get("/a")
        assert plain.status == 200
        assert MARK.encode() not in plain.body
        assert MARK.encode() not in origin.requests[0].raw


@pytest.mark.parametrize(
    "host", [MARK, f"site.test:80@{MARK}", f"site.test@{MARK}", f"{MARK}/site.test", "site.test:1x"]
)
def test_a_host_of_its_own(host: str) -> None:
    with Origin(reflect) as origin, Proxy(site(origin)) as proxy:
        assert proxy.get("/a", host=host).status in (400, 421)
        assert proxy.get("/a", [("Host", "site.test"), ("Host", host)], host=None).status in (400, 421)
        assert MARK.encode() not in proxy.get("/a").body
        assert origin.count() == 1


def test_an_absolute_target_with_another_host() -> None:
    data = f"GET http://site.test/a HTTP/1.1\r\nHost: {MARK}\r\n\r\n".encode()
    with Origin(reflect) as origin, Proxy(site(origin)) as proxy:
        with proxy.client() as client:
            client.send(data)
            assert client.read_response().status in (200, 400, 421)
        assert MARK.encode() not in proxy.get("/a").body
        assert origin.count() <= 2


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_fat_get(framing: str) -> None:
    """A body of a GET never reaches a fill that others share."""
    with Origin(reflect) as origin, Proxy(site(origin)) as proxy:
        with proxy.client() as client:
            if framing == "length":
                client.send(request_bytes("GET", "/a", body=MARK.encode()))
            else:
                client.send(
                    request_bytes("GET", "/a", {"Transfer-Encoding": "chunked"}, chunked(MARK.encode()))
                )
            assert client.read_response().status in (200, 400)
        assert MARK.encode() not in proxy.get("/a").body
        assert MARK.encode() not in proxy.get("/a").body
        assert origin.count() <= 2


CLOAKED = {
    "semicolon": "/p?utm_content=x;id=evil&id=1",
    "encoded ampersand": "/p?utm_content=x%26id=evil&id=1",
    "encoded name": "/p?utm%5fcontent=x&id=1&%69d=evil",
    "twice": "/p?id=1&id=evil",
    "in the ignored name": "/p?utm_a=1?id=evil&id=1",
    "empty pairs": "/p?&&id=1&&utm_x=evil",
    "no equals sign": "/p?id=1&utm_evil",
    "plus": "/p?id=1&utm_+x=evil",
    "fragment": "/p?id=1%23&utm_x=evil",
}


@pytest.mark.parametrize("target", CLOAKED.values(), ids=CLOAKED)
def test_parameter_cloaking(target: str) -> None:
    """What is not in the key does not reach the origin: one reading of the query serves key, match and
    origin."""
    cache = {"key": {"query": {"ignore": ["utm_*"]}}}
    with Origin(reflect) as origin, Proxy(site(origin, cache)) as proxy:
        proxy.get(target)
        sent = origin.last.target if origin.requests else ""
        plain = proxy.get("/p?id=1")
        assert b"evil" not in plain.body
        if "evil" in sent:  # it was taken for part of the key: then it is another URL's answer
            assert origin.count() == 2


def test_a_redirect_made_of_the_request_stays_with_its_url() -> None:
    def rule(request: Request) -> Reply:
        return reply(
            301, {"Cache-Control": "max-age=60", "Location": f"https://{request['host']}{request.target}"}
        )

    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        proxy.get("/a?x=" + MARK, {"X-Forwarded-Host": MARK})
        assert proxy.get("/a")["location"] == "https://site.test/a"
        assert origin.count() == 2


def test_accept_and_language_do_not_leak_without_vary() -> None:
    """An origin that varies without saying so is its own mistake; with saying so the variants stay apart."""

    def rule(request: Request) -> Reply:
        return fresh(60, (request["accept-language"] or "-").encode(), vary="Accept-Language")

    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        assert proxy.get("/a", {"Accept-Language": MARK}).body == MARK.encode()
        assert proxy.get("/a", {"Accept-Language": "de"}).body == b"de"
        assert proxy.get("/a").body == b"-"
        assert origin.count() == 3
