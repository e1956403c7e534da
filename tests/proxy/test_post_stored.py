"""A POST's response that is stored for later GETs (RFC 9110 §9.3.3): only what a GET's own might be."""

from __future__ import annotations

from typing import Any

import pytest

from tests.harness import Origin, Reply, Request, reply, site
from tests.harness.proxy import Proxy, is_hit

OWN = {"Cache-Control": "max-age=600", "Content-Location": "/a"}


def rule(request: Request) -> Reply:
    return reply(200, OWN, b"of the post" if request.method == "POST" else b"of the get")


@pytest.mark.parametrize(
    ("bypass", "fields"),
    [({"cookies": ["session"]}, {"Cookie": "session=1"}), ({"headers": ["x-preview"]}, {"X-Preview": "1"})],
    ids=["cookie", "header"],
)
def test_what_bypasses_the_cache_is_not_stored(bypass: Any, fields: dict[str, str]) -> None:
    with Origin(rule) as origin, Proxy(site(origin, {"bypass": bypass})) as proxy:
        assert proxy.ask("POST", "/a", fields, b"mine").body == b"of the post"
        got = proxy.get("/a")
        assert not is_hit(got)
        assert got.body == b"of the get"
