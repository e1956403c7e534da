"""The admin listener: what it answers, and whom it refuses."""

from __future__ import annotations

import re
import socket
import time
from typing import Any

import pytest

from .fakes import FakeNode, running_admin


def test_health_and_readiness() -> None:
    with running_admin() as admin:
        assert admin.ask("GET", "/healthz").body == b"ok\n"
        assert admin.ask("GET", "/readyz").status == 200
        admin.node.ready = False
        assert admin.ask("GET", "/readyz").status == 503
        assert admin.ask("GET", "/healthz").status == 200


def test_stats_are_json_and_never_stored() -> None:
    with running_admin() as admin:
        answer = admin.ask("GET", "/v1/stats")
        assert answer.json["node"] == "edge-1"
        assert answer.json["outcomes"]["miss"] == 40
        assert answer.fields["Cache-Control"] == "no-store"
        assert "Access-Control-Allow-Origin" not in answer.fields


def test_purge_of_urls_and_of_all_leaves_an_audit_line() -> None:
    with running_admin() as admin:
        answer = admin.post("/v1/purge", {"urls": ["http://a.example/x", "http://a.example/y"], "soft": True})
        none = {"tags": 0, "prefixes": 0, "hosts": 0}
        assert answer.json == {"purged": 2, "urls": 2, **none, "all": False, "soft": True}
        assert admin.post("/v1/purge", {"all": True}).json["purged"] == 42
        assert admin.node.purges == [
            (["http://a.example/x", "http://a.example/y"], False, True),
            ([], True, False),
        ]
        audit = [line.decode()[21:] for line in admin.lines]
        assert audit == [
            "audit: soft purge of 2 URLs, first http://a.example/x by 127.0.0.1: 2 reached\n",
            "audit: purge of all by 127.0.0.1: 42 reached\n",
        ]


def test_purge_by_names() -> None:
    with running_admin() as admin:
        answer = admin.post(
            "/v1/purge", {"tags": ["news", "x"], "prefixes": ["http://a.example/i"], "hosts": ["b.example"]}
        )
        assert answer.json == {
            "purged": 0,
            "urls": 0,
            "tags": 2,
            "prefixes": 1,
            "hosts": 1,
            "all": False,
            "soft": False,
        }
        admin.post("/v1/purge", {"urls": ["http://a.example/x"], "tags": ["news"], "soft": True})
        assert admin.node.purges == [([], False, False), (["http://a.example/x"], False, True)]
        assert admin.node.named == [
            (["news", "x"], ["http://a.example/i"], ["b.example"]),
            (["news"], [], []),
        ]
        assert [line.decode()[21:] for line in admin.lines] == [
            "audit: purge of 2 tags, first news; prefix http://a.example/i; host b.example by 127.0.0.1: 0 reached\n",
            "audit: soft purge of http://a.example/x; tag news by 127.0.0.1: 1 reached\n",
        ]


def test_a_url_cannot_forge_a_line_of_the_log() -> None:
    with running_admin() as admin:
        admin.post("/v1/purge", {"urls": ["http://a.example/\naudit: forged"]})
        assert len(admin.lines) == 1
        assert admin.lines[0].count(b"\n") == 1


@pytest.mark.parametrize(
    ("body", "status", "sentence"),
    [
        ({}, 400, "nothing to purge"),
        ([], 400, "has to be an object"),
        ({"url": ["http://a.example/"]}, 400, "unknown key 'url'"),
        ({"urls": "http://a.example/"}, 400, "a list of texts"),
        ({"urls": [1]}, 400, "a list of texts"),
        ({"urls": ["/x"]}, 400, "not an absolute http or https URL: '/x'"),
        ({"urls": ["ftp://a.example/"]}, 400, "not an absolute"),
        ({"urls": ["http://a.example/"] * 1001}, 400, "too many for one purge"),
        ({"urls": ["http://a.example/" + "x" * 9000]}, 400, "a URL has to be a text of 1 to 8192"),
        ({"urls": ["http://unknown.example/"]}, 400, "matches no route"),
        ({"all": "yes"}, 400, "all has to be true or false"),
        ({"urls": ["http://a.example/"], "soft": 1}, 400, "soft has to be true or false"),
        ({"all": True, "urls": ["http://a.example/"]}, 400, "not both"),
        ({"tags": "news"}, 400, "tags has to be a list of texts"),
        ({"hosts": [["a"]]}, 400, "hosts has to be a list of texts"),
        ({"tags": [""]}, 400, "a tag has to be a text of 1 to 8192 characters"),
        ({"hosts": ["x" * 8193]}, 400, "a host has to be a text of 1 to 8192 characters"),
        ({"tags": ["a"] * 1001}, 400, "1001 tags are too many for one purge; send at most 1000"),
        ({"prefixes": ["/images/"]}, 400, "not an absolute http or https URL: '/images/'"),
        ({"hosts": ["a.example"], "all": True}, 400, "not both"),
        ({"tags": [], "urls": []}, 400, "nothing to purge: give urls, tags, prefixes or hosts"),
    ],
)
def test_a_purge_that_cannot_be_done_says_why(body: Any, status: int, sentence: str) -> None:
    with running_admin() as admin:
        answer = admin.post("/v1/purge", body)
        assert answer.status == status
        assert sentence in answer.json["error"]
        assert admin.node.purges == []


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000, b'{"all": tru}'])
def test_a_body_that_is_not_json(body: bytes) -> None:
    with running_admin() as admin:
        answer = admin.ask("POST", "/v1/purge", body, Content_Type="application/json")
        assert answer.status == 400
        assert answer.json == {"error": "the body is not JSON"}


def test_a_body_that_is_too_large() -> None:
    with running_admin() as admin:
        answer = admin.ask("POST", "/v1/purge", b" " * (2 << 20), Content_Type="application/json")
        assert answer.status == 413
        assert "error" in answer.json


def test_explain_takes_a_url_and_fields() -> None:
    with running_admin() as admin:
        answer = admin.ask(
            "GET",
            "/v1/explain?url=http%3A%2F%2Fa.example%2F&header=Accept-Language%3A%20de&header=Cookie:a=b:c",
        )
        assert answer.json["fields"] == {"Accept-Language": "de", "Cookie": "a=b:c"}


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("", "name the URL"),
        ("url=x", "not an absolute URL"),
        ("url=http://a/&header=nocolon", "header has to be Name:value"),
        ("url=http://a/&header=a%20b:c", "header has to be Name:value"),
        ("url=http://a/&header=a:b%0d%0ac:d", "header has to be Name:value"),
    ],
)
def test_an_explain_that_cannot_be_done_says_why(query: str, sentence: str) -> None:
    with running_admin() as admin:
        answer = admin.ask("GET", f"/v1/explain?{query}")
        assert answer.status == 400
        assert sentence in answer.json["error"]


def test_unknown_paths_and_methods() -> None:
    with running_admin() as admin:
        assert admin.ask("GET", "/v2/purge").status == 404
        answer = admin.ask("GET", "/v1/purge")
        assert answer.status == 405
        assert answer.fields["Allow"] == "POST"
        assert admin.ask("PURGE", "/v1/purge").status == 405


def test_the_token_guards_everything_but_health_and_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_TOKEN", "s3cret")
    with running_admin(token_env="TEST_TOKEN") as admin:
        for path in ("/v1/stats", "/metrics", "/v1/explain?url=http://a/", "/nowhere"):
            answer = admin.ask("GET", path)
            assert answer.status == 401
            assert answer.fields["WWW-Authenticate"].startswith("Bearer")
        for wrong in ("s3cret", "Bearer", "Bearer s3cre", "Bearer s3cret2", "Basic s3cret", "Bearer \xe9"):
            assert admin.ask("GET", "/v1/stats", Authorization=wrong).status == 401
            assert admin.post("/v1/purge", {"all": True}, Authorization=wrong).status == 401
        assert admin.node.purges == []
        assert admin.ask("GET", "/v1/stats", Authorization="Bearer s3cret").status == 200
        assert admin.ask("GET", "/v1/stats", Authorization="bearer  s3cret").status == 200
        assert admin.post("/v1/purge", {"all": True}, Authorization="Bearer s3cret").status == 200
        for path in ("/", "/healthz", "/readyz"):
            assert admin.ask("GET", path).status == 200
        assert not any(b"s3cret" in line for line in admin.lines)
        assert b"s3cret" not in admin.ask("GET", "/metrics", Authorization="Bearer s3cret").body


def test_refusals_do_not_flood_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_TOKEN", "s3cret")
    with running_admin(token_env="TEST_TOKEN") as admin:
        for _ in range(50):
            assert admin.ask("GET", "/v1/stats").status == 401
        assert len(admin.lines) == 5


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("127.0.0.1:9090", 200),
        ("localhost:1", 200),
        ("LOCALHOST", 200),
        ("[::1]:9090", 200),
        ("rebound.example", 421),
        ("rebound.example:9090", 421),
        ("127.0.0.1.nip.example", 421),
        ("localhost.example", 421),
        ("10.0.0.1", 421),
        ("", 421),
        ("[::1", 421),
        ("a@localhost.example", 421),
    ],
)
def test_a_host_that_is_not_ours_is_refused(host: str, status: int) -> None:
    with running_admin() as admin:
        assert admin.ask("GET", "/v1/stats", Host=host).status == status
        assert admin.ask("GET", "/", Host=host).status == status


@pytest.mark.parametrize(
    "kind", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]
)
def test_a_post_that_a_form_could_send_is_refused(kind: str | None) -> None:
    with running_admin() as admin:
        answer = admin.ask(
            "POST", "/v1/purge", b'{"all": true}', Content_Type=kind, Origin="http://evil.example"
        )
        assert answer.status == 415
        assert admin.node.purges == []


def test_a_fault_of_ours_is_one_line_and_shows_nothing() -> None:
    node = FakeNode(fault=RuntimeError("secret inside\nsecond line"))
    with running_admin(node) as admin:
        answer = admin.ask("GET", "/v1/stats")
        assert answer.status == 500
        assert b"secret" not in answer.body
        assert len(admin.lines) == 1
        assert b"RuntimeError: secret inside\\nsecond line" in admin.lines[0]
        assert admin.ask("GET", "/healthz").status == 200


def test_hostile_bytes_get_a_400_and_the_listener_lives(capfd: pytest.CaptureFixture[str]) -> None:
    payloads = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"POST /v1/purge HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
    ]
    with running_admin() as admin:
        for payload in payloads:
            with socket.create_connection(("127.0.0.1", admin.port), 5) as client:
                client.sendall(payload)
                assert re.match(rb"HTTP/1\.[01] (4\d\d|200)", client.recv(200)), payload
        assert admin.ask("GET", "/healthz").status == 200


def test_a_body_that_never_comes_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cdn.control.admin.DEADLINE", 0.3)
    with running_admin() as admin, socket.create_connection(("127.0.0.1", admin.port), 5) as client:
        client.sendall(
            b"POST /v1/purge HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n"
            b"Content-Type: application/json\r\n\r\n"
        )
        began = time.monotonic()
        assert client.recv(100).startswith(b"HTTP/1.1 408")
        assert time.monotonic() - began < 4


def test_a_wildcard_listener_takes_literal_addresses_and_no_strange_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TEST_TOKEN", "t")
    with running_admin(token_env="TEST_TOKEN", host="0.0.0.0") as admin:
        for host, status in (("192.0.2.9:9090", 200), ("edge-1", 200), ("rebound.example", 421)):
            assert admin.ask("GET", "/v1/stats", Host=host, Authorization="Bearer t").status == status
