"""On a TLS connection only the hosts of the listener's certificate are served; any other is 421 (RFC 9110
§7.4)."""

from __future__ import annotations

import pytest

from tests.harness import Origin, Tree, fresh, site
from tests.harness.proxy import Proxy
from tests.harness.tls import certificate


def tree(origin: Origin) -> Tree:
    """A certificate for two names, routes for any Host."""
    chain, key = certificate("site.test", "*.site.test")
    listen = [
        {"url": "https://127.0.0.1:0", "certificate": str(chain), "key": str(key)},
        "http://127.0.0.1:0",
    ]
    return site(origin, listen=listen, route={"match": {"path": "/*"}})


CASES = {
    "same": ("site.test", "site.test", 200),
    "wildcard": ("www.site.test", "www.site.test", 200),
    "another name of the certificate": ("site.test", "www.site.test", 200),
    "no SNI": (None, "site.test", 200),
    "foreign host": ("site.test", "other.test", 421),
    "foreign host, no SNI": (None, "other.test", 421),
    "foreign SNI": ("other.test", "other.test", 421),
    "two labels under a wildcard": ("site.test", "a.b.site.test", 421),
    "suffix only": ("site.test", "evilsite.test", 421),
    "an address": ("site.test", "127.0.0.1", 421),
}


@pytest.mark.parametrize(("sni", "host", "status"), CASES.values(), ids=CASES)
def test_pair(sni: str | None, host: str, status: int) -> None:
    with Origin(fresh(60)) as origin, Proxy(tree(origin)) as proxy:
        with proxy.client(tls=True, sni=sni) as client:
            for _ in range(2):  # the hit lane judges alike
                assert client.get("/a", host=host).status == status
            if status == 421:
                assert client.get("/a", host="site.test").status == 200
        assert origin.count() == 1


def test_what_is_stored_from_plain_http_does_not_get_around_it() -> None:
    with Origin(fresh(60)) as origin, Proxy(tree(origin)) as proxy:
        assert proxy.client(port=proxy.ports[1]).get("/a", host="other.test").status == 200
        assert proxy.client(tls=True).get("/a", host="other.test").status == 421
        assert origin.count() == 1
