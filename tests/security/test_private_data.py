"""What is meant for one never reaches another: Cache-Control × Authorization × Set-Cookie × Cookie, the whole
matrix."""

from __future__ import annotations

import itertools

import pytest

from tests.harness import FieldsLike, Origin, Signal, reply, site
from tests.harness.proxy import Proxy

CONTROL: dict[str, list[str]] = {
    "nothing": [],
    "max-age": ["max-age=60"],
    "public": ["public, max-age=60"],
    "s-maxage": ["s-maxage=60"],
    "must-revalidate": ["must-revalidate, max-age=60"],
    "private": ["private, max-age=60"],
    "PRIVATE": ["PRIVATE, max-age=60"],
    "no-store": ["no-store, max-age=60"],
    "private in a second line": ["max-age=60", "private"],
    "no-store in a second line": ["public, max-age=60", "no-store"],
    "private and public": ["public, private, max-age=60"],
}


def shared(control: str, credentials: bool, set_cookie: bool) -> bool:
    """RFC 9111 §3, §3.5 and our bar for Set-Cookie, written down once more and naively."""
    text = ", ".join(CONTROL[control]).lower()
    if "private" in text or "no-store" in text or "=60" not in text:
        return False
    # A response that names its lifetime itself may be shared, Set-Cookie and all (RFC 9111 §7.3).
    return not credentials or any(word in text for word in ("public", "s-maxage", "must-revalidate"))


def strictly_shared(control: str, credentials: bool, set_cookie: bool) -> bool:
    """With `store_set_cookie: public`."""
    text = ", ".join(CONTROL[control])
    return shared(control, credentials, set_cookie) and (
        not set_cookie or "public" in text or "s-maxage" in text
    )


MATRIX = list(itertools.product(CONTROL, [False, True], [False, True], [False, True]))


@pytest.fixture(scope="module", params=[True, "public"])
def running(request: pytest.FixtureRequest):  # type: ignore[no-untyped-def]
    def rule(request):  # type: ignore[no-untyped-def]
        _, control, set_cookie = request.target.strip("/").split("/")[:3]
        fields = [("Cache-Control", line) for line in CONTROL[control.replace("_", " ")]]
        if set_cookie == "1":
            fields.append(("Set-Cookie", "id=1"))
        return reply(200, fields, b"%d" % origin.count())

    allowed = shared if request.param is True else strictly_shared
    with Origin(rule) as origin, Proxy(site(origin, {"store_set_cookie": request.param})) as proxy:
        yield proxy, allowed


@pytest.mark.parametrize(("control", "credentials", "set_cookie", "cookie"), MATRIX)
def test_matrix(running, control: str, credentials: bool, set_cookie: bool, cookie: bool) -> None:  # type: ignore[no-untyped-def]
    proxy, allowed = running
    fields: dict[str, str] = {}
    if credentials:
        fields["Authorization"] = "Bearer secret"
    if cookie:
        fields["Cookie"] = "id=mine"
    target = f"/{credentials:d}{cookie:d}/{control.replace(' ', '_')}/{set_cookie:d}"
    mine = proxy.get(target, fields).body
    theirs = proxy.get(target).body
    assert (theirs == mine) == allowed(control, credentials, set_cookie)


def test_a_qualified_private_keeps_only_that_field_back() -> None:
    fields = {
        "Cache-Control": 'max-age=60, private="set-cookie, X-Mine"',
        "Set-Cookie": "id=1",
        "X-Mine": "1",
        "X-All": "1",
    }
    with Origin(reply(200, fields, b"body")) as origin, Proxy(site(origin)) as proxy:
        assert proxy.get("/a")["set-cookie"] == "id=1"
        hit = proxy.get("/a")
        assert (hit["set-cookie"], hit["x-mine"], hit["x-all"]) == (None, None, "1")
        assert origin.count() == 1


def test_a_qualified_no_cache_keeps_that_field_back_as_well() -> None:
    fields = {"Cache-Control": 'max-age=60, no-cache="Set-Cookie"', "Set-Cookie": "id=1"}
    with Origin(reply(200, fields, b"body")) as origin, Proxy(site(origin)) as proxy:
        proxy.get("/a")
        assert "set-cookie" not in proxy.get("/a")
        assert origin.count() >= 1


def test_cookies_may_be_forbidden_altogether() -> None:
    fields: FieldsLike = {"Cache-Control": "public, max-age=60", "Set-Cookie": "id=1"}
    with Origin(reply(200, fields)) as origin, Proxy(site(origin, {"store_set_cookie": False})) as proxy:
        for _ in range(2):
            proxy.get("/a")
        assert origin.count() == 2


def test_followers_never_share_what_turns_out_private() -> None:
    """Collapsing joins them before it is known; the head frees them all."""

    gate = Signal("all wait")

    def rule(request):  # type: ignore[no-untyped-def]
        gate.wait()
        return reply(200, {"Cache-Control": "private"}, (request["cookie"] or "-").encode())

    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        clients = [proxy.client() for _ in range(5)]
        for number, client in enumerate(clients):
            client.request("GET", "/account", {"Cookie": f"id={number}"})
        proxy.settle()
        gate.set()
        assert [client.read_response().body for client in clients] == [
            b"id=%d" % number for number in range(5)
        ]
        assert origin.count() == 5
