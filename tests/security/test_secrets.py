"""Secrets never show: not in logs, metrics, statistics, the dashboard, error pages, nor in the printed
configuration."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.harness import Origin, RawClient, fresh, reply, site, yaml_text
from tests.harness.process import Serve, free_port, run
from tests.harness.tls import certificate

TOKEN = "s3cr3t-admin-token-value"
CLIENTS = {"Authorization": "Bearer s3cr3t-client-token", "Cookie": "session=s3cr3t-cookie-value"}
ROUTE = "s3cr3t-header-for-the-origin"
SECRETS = [TOKEN, "s3cr3t-client-token", "s3cr3t-cookie-value", ROUTE]


def key_material(path: Path) -> str:
    return "".join(path.read_text().splitlines()[1:-1])[:40]


def test_nothing_tells_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDN_TEST_SECRET", TOKEN)
    chain, key = certificate("site.test")
    admin_port, tls_port = free_port(), free_port()
    rules = {
        "/a": fresh(60),
        "/set": reply(200, {"Set-Cookie": "id=s3cr3t-cookie-value"}, b"x"),
        "/broken": lambda request: request.conn.reset(),
    }
    with Origin(rules) as origin:
        tree = site(
            origin,
            admin={"listen": f"http://127.0.0.1:{admin_port}", "token_env": "CDN_TEST_SECRET"},
            route={"headers": {"request": {"set": {"X-Api-Key": ROUTE}}}},
        )
        node = Serve(tree)
        node.tree["listen"] = [
            f"http://127.0.0.1:{node.port}",
            {"url": f"https://127.0.0.1:{tls_port}", "certificate": str(chain), "key": str(key)},
        ]
        with node:
            seen = b""
            for target in ("/a", "/a", "/broken", "/%zz", "/none"):
                with RawClient(node.port) as client:
                    seen += client.get(target, CLIENTS).body
            with RawClient(node.port) as client:
                seen += client.get("/a", CLIENTS, host="else.test").body
            with RawClient(tls_port, tls=True) as client:
                seen += client.get("/a", CLIENTS).body
            host = f"127.0.0.1:{admin_port}"
            bearer = {"Authorization": f"Bearer {TOKEN}"}
            for target in (
                "/",
                "/metrics",
                "/v1/stats",
                "/healthz",
                "/readyz",
                "/v1/explain?url=http://site.test/a",
            ):
                with RawClient(admin_port) as client:
                    seen += client.get(target, bearer, host=host).body
                with RawClient(admin_port) as client:
                    seen += client.get(target, {"Authorization": "Bearer wrong"}, host=host).body
            with RawClient(admin_port) as client:
                fields = {**bearer, "Content-Type": "application/json"}
                seen += client.ask(
                    "POST", "/v1/purge", fields, json.dumps({"all": True}).encode(), host=host
                ).body
            checked = run("check", str(node.config))
            assert origin.requests[0]["x-api-key"] == ROUTE
            text = seen.decode("latin-1") + node.stdout + node.stderr + checked.stdout + checked.stderr
    assert len(text) > 1000
    for secret in [*SECRETS, key_material(key)]:
        assert secret not in text


def test_an_error_in_the_configuration_shows_no_value_of_a_secret() -> None:
    with Origin(fresh(60)) as origin:
        tree = site(origin, route={"headers": {"request": {"set": {"X-Api-Key": ROUTE}}}}, blue=1)
        node = Serve(tree)
        node.config.write_text(yaml_text(node.tree))
        checked = run("check", str(node.config))
        assert checked.returncode == 2
        assert ROUTE not in checked.stdout + checked.stderr
