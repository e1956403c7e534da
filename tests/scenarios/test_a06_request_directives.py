"""What a client may ask of the cache (RFC 9111 §5.2.1)."""

from __future__ import annotations

import pytest

from tests.harness import Origin, fresh, site
from tests.harness.proxy import Proxy, is_hit


def test_only_if_cached() -> None:
    with Origin(fresh(60)) as origin, Proxy(site(origin)) as proxy:
        missing = proxy.get("/a", {"Cache-Control": "only-if-cached"})
        assert missing.status == 504
        assert origin.count() == 0
        proxy.get("/a")
        assert is_hit(proxy.get("/a", {"Cache-Control": "only-if-cached"}))
        assert origin.count() == 1


def test_request_no_store_is_not_stored() -> None:
    with Origin(fresh(60)) as origin, Proxy(site(origin)) as proxy:
        proxy.get("/a", {"Cache-Control": "no-store"})
        assert not is_hit(proxy.get("/a"))
        assert is_hit(proxy.get("/a"))
        assert origin.count() == 2


def test_max_stale_is_not_granted_unless_configured() -> None:
    with Origin(fresh(10)) as origin, Proxy(site(origin)) as proxy:
        proxy.get("/a")
        proxy.advance(15)
        assert not is_hit(proxy.get("/a", {"Cache-Control": "max-stale=60"}))
        assert origin.count() == 2


@pytest.mark.parametrize("directive", ["no-cache", "max-age=5", "max-age=0", "min-fresh=55"])
def test_a_client_may_insist_on_a_newer_answer(directive: str) -> None:
    with Origin(fresh(60)) as origin, Proxy(site(origin)) as proxy:
        proxy.get("/a")
        proxy.advance(10)
        assert not is_hit(proxy.get("/a", {"Cache-Control": directive}))
        assert origin.count() == 2
        assert is_hit(proxy.get("/a"))


@pytest.mark.parametrize("directive", ["max-age=50", "min-fresh=5", "max-stale", "no-transform", "blue=1"])
def test_wishes_that_are_met_stay_hits(directive: str) -> None:
    with Origin(fresh(60)) as origin, Proxy(site(origin)) as proxy:
        proxy.get("/a")
        proxy.advance(10)
        assert is_hit(proxy.get("/a", {"Cache-Control": directive}))
        assert origin.count() == 1


def test_pragma_counts_only_without_cache_control() -> None:
    with Origin(fresh(60)) as origin, Proxy(site(origin)) as proxy:
        proxy.get("/a")
        assert not is_hit(proxy.get("/a", {"Pragma": "no-cache"}))
        assert is_hit(proxy.get("/a", {"Pragma": "no-cache", "Cache-Control": "max-age=60"}))
        assert origin.count() == 2


def test_a_route_may_ignore_them_all() -> None:
    with Origin(fresh(60)) as origin, Proxy(site(origin, {"request_directives": "none"})) as proxy:
        proxy.get("/a", {"Cache-Control": "no-store"})
        for directive in ("no-cache", "max-age=0", "no-store", "only-if-cached"):
            assert is_hit(proxy.get("/a", {"Cache-Control": directive}))
        assert origin.count() == 1


def test_a_route_may_grant_max_stale() -> None:
    with Origin(fresh(10)) as origin, Proxy(site(origin, {"request_directives": "all"})) as proxy:
        proxy.get("/a")
        proxy.advance(15)
        stale = proxy.get("/a", {"Cache-Control": "max-stale=60"})
        assert (stale.body, stale["age"]) == (b"body", "15")
        assert origin.count() == 1
