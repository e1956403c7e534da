"""One site's stored answer never reaches another's visitor: the key is scheme, authority, path, query and the
chosen values, each with its length, and it is compared whole.
"""

from __future__ import annotations

import itertools

from cdn._core import cache_key
from tests.harness import Origin, Reply, Request, fresh, site
from tests.harness.proxy import Proxy, is_hit
from tests.harness.tls import certificate

HOSTS = ["a.test", "b.test", "aa.test", "a.test.b.test", "a.test:8080", "127.0.0.1", "[::1]"]


def shown(request: Request) -> Reply:
    text = f"{request['x-forwarded-proto']}://{request['host']}{request.target}"
    return fresh(60, text.encode())


def test_two_hosts_one_path() -> None:
    route = {"match": {"path": "/*"}}
    with Origin(shown) as origin, Proxy(site(origin, route=route)) as proxy:
        for _ in range(2):
            for host in HOSTS:
                assert proxy.get("/a", host=host).body == f"http://{host}/a".encode()
        assert origin.count() == len(HOSTS)
        for spelling in ("A.TEST", "a.test:80", "a.test."):  # the same site, written differently
            assert is_hit(proxy.get("/a", host=spelling))


def test_parts_do_not_run_into_each_other() -> None:
    """Path and query, query and key values: what moves over a border is another key."""
    cache = {"key": {"headers": ["X-A", "X-B"]}}
    route = {"match": {"path": "/*"}}
    asked = [
        ("/a?b", None),
        ("/a%3Fb", None),
        ("/ab", None),
        ("/a", {"X-A": "b", "X-B": ""}),
        ("/a", {"X-A": "", "X-B": "b"}),
        ("/a", {"X-A": "b"}),
        ("/a", {"X-A": "bc", "X-B": "d"}),
        ("/a", {"X-A": "b", "X-B": "cd"}),
        ("/a", {"X-A": "b, X-B: cd"}),
    ]
    with Origin(shown) as origin, Proxy(site(origin, cache, route={**route, "cache": cache})) as proxy:
        for target, fields in asked:
            proxy.get(target, fields)
        assert origin.count() >= len(asked) - 1  # an absent field and an empty one may be the same
        before = origin.count()
        for target, fields in asked:
            assert is_hit(proxy.get(target, fields))
        assert origin.count() == before


def test_http_is_not_https() -> None:
    chain, key = certificate("site.test")
    listen = [
        "http://127.0.0.1:0",
        {"url": "https://127.0.0.1:0", "certificate": str(chain), "key": str(key)},
    ]
    with Origin(shown) as origin, Proxy(site(origin, listen=listen)) as proxy:
        for _ in range(2):
            assert proxy.client().get("/a").body == b"http://site.test/a"
            assert proxy.client(port=proxy.ports[1], tls=True).get("/a").body == b"https://site.test/a"


def test_the_bytes_of_a_key_have_one_reading() -> None:
    """All ways to cut one string into authority, path, query and a value give different keys."""
    text = b"abcdef"
    keys = set()
    cuts = list(itertools.combinations_with_replacement(range(len(text) + 1), 3))
    for i, j, k in cuts:
        for https in (False, True):
            keys.add(cache_key(https, text[:i], text[i:j], text[j:k], [text[k:]]))
            keys.add(cache_key(https, text[:i], text[i:j], None, [text[j:k], text[k:]]))
    assert len(keys) == len(cuts) * 4
