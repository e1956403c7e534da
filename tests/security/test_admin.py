"""Purge and admin: on a listener of their own, behind a token, with an audit line, and never on the public
side."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.harness import Origin, RawClient, eventually, fresh, site
from tests.harness.process import Serve, free_port

TOKEN = "correct-horse-battery-staple"
PURGE_ALL = json.dumps({"all": True}).encode()
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    monkeypatch.setenv("CDN_TEST_TOKEN", TOKEN)
    port = free_port()
    with Origin(fresh(600)) as origin:
        section = {"listen": f"http://127.0.0.1:{port}", "token_env": "CDN_TEST_TOKEN"}
        with Serve(site(origin, admin=section)) as serving:
            serving.admin_port = port
            serving.origin = origin
            eventually(lambda: admin(serving, "GET", "/healthz").status == 200, "the admin listener")
            assert TOKEN not in Path(f"/proc/{serving.pid}/cmdline").read_text()
            yield serving


def admin(node, method: str, target: str, fields=None, body: bytes = b""):  # type: ignore[no-untyped-def]
    with RawClient(node.admin_port) as client:
        return client.ask(method, target, fields, body, host=f"127.0.0.1:{node.admin_port}")


WRONG = {
    "none": {},
    "empty": {"Authorization": "Bearer "},
    "wrong": {"Authorization": "Bearer wrong"},
    "prefix": {"Authorization": f"Bearer {TOKEN[:-1]}"},
    "longer": {"Authorization": f"Bearer {TOKEN}x"},
    "case": {"Authorization": f"Bearer {TOKEN.upper()}"},
    "scheme": {"Authorization": f"Basic {TOKEN}"},
    "bare": {"Authorization": TOKEN},
    "bytes": {"Authorization": "Bearer \xff\xfe"},
    "in a cookie": {"Cookie": f"token={TOKEN}"},
}


@pytest.mark.parametrize("fields", WRONG.values(), ids=WRONG)
def test_without_the_token_nothing_is_purged(node, fields: dict[str, str]) -> None:  # type: ignore[no-untyped-def]
    node.get("/a")
    assert admin(node, "POST", "/v1/purge", {**JSON, **fields}, PURGE_ALL).status == 401
    for target in ("/v1/stats", "/v1/explain?url=http://site.test/a", "/metrics"):
        assert admin(node, "GET", target, fields).status == 401
    assert node.get("/a").status == 200
    assert node.origin.count() == 1


def test_with_it_the_purge_holds_and_is_in_the_audit(node) -> None:  # type: ignore[no-untyped-def]
    node.get("/a")
    answer = admin(node, "POST", "/v1/purge", {**JSON, "Authorization": f"Bearer {TOKEN}"}, PURGE_ALL)
    assert answer.status == 200
    node.get("/a")
    assert node.origin.count() == 2
    eventually(lambda: "audit" in node.stderr + node.stdout, "the audit line")
    assert TOKEN not in node.stderr + node.stdout


@pytest.mark.parametrize("target", ["/v1/purge", "/v1/stats", "/metrics", "/healthz", "/v1/explain?url=x"])
def test_the_public_side_knows_no_admin_path(node, target: str) -> None:  # type: ignore[no-untyped-def]
    """They are paths like any other there: they go to the origin."""
    with RawClient(node.port) as client:
        assert client.get(target, {"Authorization": f"Bearer {TOKEN}"}).body == b"body"
    assert node.origin.count(target) == 1


def test_purge_from_outside_is_405(node) -> None:  # type: ignore[no-untyped-def]
    node.get("/a")
    with RawClient(node.port) as client:
        for method in ("PURGE", "BAN", "purge"):
            status = client.ask(method, "/a", {"Authorization": f"Bearer {TOKEN}"}).status
            assert status == 405 if method == "PURGE" else status in (200, 405, 501)
    node.get("/a")
    assert node.origin.count("/a", "GET") >= 1
    assert node.origin.count("/a", "PURGE") == 0


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'{"all": 1}', b'{"urls": "x"}', b'{"blue": true}', b"\xff"]
)
def test_odd_bodies_are_4xx(node, body: bytes) -> None:  # type: ignore[no-untyped-def]
    fields = {**JSON, "Authorization": f"Bearer {TOKEN}"}
    assert 400 <= admin(node, "POST", "/v1/purge", fields, body).status < 500


def test_a_page_of_another_site_cannot_purge(node) -> None:  # type: ignore[no-untyped-def]
    """No simple cross-site request is taken: neither form bodies nor a rebound Host."""
    fields = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "text/plain", "Origin": "http://evil.test"}
    assert admin(node, "POST", "/v1/purge", fields, PURGE_ALL).status == 415
    with RawClient(node.admin_port) as client:
        assert (
            client.ask("GET", "/v1/stats", {"Authorization": f"Bearer {TOKEN}"}, host="evil.test").status
            == 421
        )


def test_without_a_token_it_is_bound_to_loopback_only() -> None:
    with Origin(fresh(60)) as origin:
        tree = site(origin, admin={"listen": f"http://0.0.0.0:{free_port()}"})
        with Serve(tree, wait=False) as node:
            assert node.wait() == 2
            assert "token" in node.stderr
