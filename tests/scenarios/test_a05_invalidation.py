"""A successful unsafe request makes what is stored for its URL unusable (RFC 9111 §4.4)."""

from __future__ import annotations

import pytest

from tests.harness import FieldsLike, Origin, Reply, Request, fresh, reply, site
from tests.harness.origin import RuleFunction
from tests.harness.proxy import Proxy, is_hit


def answering(status: int, fields: FieldsLike = None) -> RuleFunction:
    def rule(request: Request) -> Reply:
        return fresh(60) if request.method in ("GET", "HEAD") else reply(status, fields)

    return rule


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "FROBNICATE"])
@pytest.mark.parametrize("status", [200, 201, 204, 303])
def test_success_invalidates(method: str, status: int) -> None:
    with Origin(answering(status)) as origin, Proxy(site(origin)) as proxy:
        proxy.get("/a")
        proxy.get("/b")
        assert proxy.ask(method, "/a").status == status
        assert not is_hit(proxy.get("/a"))
        assert is_hit(proxy.get("/b"))


@pytest.mark.parametrize("status", [400, 404, 500])
def test_failure_does_not(status: int) -> None:
    with Origin(answering(status)) as origin, Proxy(site(origin)) as proxy:
        proxy.get("/a")
        assert proxy.ask("POST", "/a").status == status
        assert is_hit(proxy.get("/a"))


@pytest.mark.parametrize("method", ["OPTIONS", "HEAD", "GET"])
def test_safe_methods_do_not(method: str) -> None:
    with Origin(answering(200)) as origin, Proxy(site(origin)) as proxy:
        proxy.get("/a")
        proxy.ask(method, "/a")
        assert is_hit(proxy.get("/a"))


@pytest.mark.parametrize("field", ["Location", "Content-Location"])
@pytest.mark.parametrize("value", ["/b", "b", "http://site.test/b"])
def test_what_the_answer_points_at_goes_too(field: str, value: str) -> None:
    with Origin(answering(201, {field: value})) as origin, Proxy(site(origin)) as proxy:
        proxy.get("/b")
        proxy.ask("POST", "/a")
        assert not is_hit(proxy.get("/b"))


def test_but_not_on_another_host() -> None:
    route = {"match": {"host": ["site.test", "other.test"], "path": "/*"}}
    with Origin(answering(201, {"Location": "http://other.test/b"})) as origin:
        with Proxy(site(origin, route=route)) as proxy:
            proxy.get("/b", host="other.test")
            proxy.ask("POST", "/a")
            assert is_hit(proxy.get("/b", host="other.test"))


def test_all_variants_go() -> None:
    def rule(request: Request) -> Reply:
        return reply(200) if request.method == "POST" else fresh(60, vary="X-Size")

    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        for size in ("s", "l"):
            proxy.get("/a", {"X-Size": size})
        proxy.ask("POST", "/a")
        for size in ("s", "l"):
            assert not is_hit(proxy.get("/a", {"X-Size": size}))
