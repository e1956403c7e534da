"""One normal form of the path for key, route and origin, made in one pass: targets → what the origin gets, or
400."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdn._core import HeadError, normal_path
from tests.harness import Origin, Reply, Request, fresh, site
from tests.harness.proxy import Proxy

FORMS: dict[str, str | None] = {  # None: refused
    "/": "/",
    "/a": "/a",
    "/a/": "/a/",
    "/a/b/c": "/a/b/c",
    "//": "//",
    "//a": "//a",
    "/a//b": "/a//b",
    "/a;b": "/a;b",
    "/a;b=c/d": "/a;b=c/d",
    "/a:b@c!$&'()*+,=": "/a:b@c!$&'()*+,=",
    "/-._~": "/-._~",
    # unreserved characters are decoded, escapes are in upper case
    "/%61": "/a",
    "/%7e": "/~",
    "/%7E": "/~",
    "/%2d%2e%5f": "/-._",
    "/%41%5A%30": "/AZ0",
    "/%2f": "/%2F",
    "/a%2fb": "/a%2Fb",
    "/a%2Fb": "/a%2Fb",
    "/%3a%40": "/%3A%40",
    "/%20": "/%20",
    "/%c3%a9": "/%C3%A9",
    "/%ff": "/%FF",
    "/%25": "/%25",
    "/%2541": "/%2541",
    "/%252e%252e/a": "/%252e%252e/a",
    "/%3f": "/%3F",
    "/%23": "/%23",
    "/%26": "/%26",
    # dot segments, encoded or not, are resolved; never above the root
    "/.": "/",
    "/..": "/",
    "/./": "/",
    "/../": "/",
    "/a/.": "/a/",
    "/a/..": "/",
    "/a/./b": "/a/b",
    "/a/../b": "/b",
    "/../../a": "/a",
    "/a/b/../../c": "/c",
    "/a/b/../..": "/",
    "/a/../../b": "/b",
    "/%2e": "/",
    "/%2e%2e": "/",
    "/a/%2e/b": "/a/b",
    "/a/%2e%2e/b": "/b",
    "/a/.%2e/b": "/b",
    "/a/%2E./b": "/b",
    "/a/%2e%2E": "/",
    "/...": "/...",
    "/a/.b": "/a/.b",
    "/a/..b": "/a/..b",
    "/a/b..": "/a/b..",
    "/a/. ./b".replace(" ", "%20"): "/a/.%20./b",
    "/a//../b": "/a/b",
    "/a/..//b": "//b",
    "/a/..;/b": "/a/..;/b",
    "/a%2f../b": "/a%2F../b",
    "/a/..%2fb": "/a/..%2Fb",
    "/.%2f": "/.%2F",
    # refused
    "/\\": None,
    "/a\\..\\b": None,
    "/%00": None,
    "/a%00b": None,
    "/%0d%0a": None,
    "/%09": None,
    "/%7f": None,
    "/%5c": None,
    "/%": None,
    "/%4": None,
    "/%zz": None,
    "/%4g": None,
    "/a%": None,
    "/%u0041": None,
    "/%%41": None,
    "/a\x7fb": None,
    "/\xe9": None,
    "a": None,
    "": None,
    "*": None,
}


@pytest.fixture(scope="module")
def running():  # type: ignore[no-untyped-def]
    def rule(request: Request) -> Reply:
        return fresh(600, request.target.encode())

    with Origin(rule) as origin, Proxy(site(origin)) as proxy:
        yield origin, proxy


@pytest.mark.parametrize(("sent", "form"), FORMS.items(), ids=[ascii(sent) for sent in FORMS])
def test_target(running, sent: str, form: str | None) -> None:  # type: ignore[no-untyped-def]
    origin, proxy = running
    before = origin.count()
    with proxy.client() as client:
        client.send(f"GET {sent} HTTP/1.1\r\nHost: site.test\r\n\r\n".encode("latin-1"))
        answer = client.read_response()
    if form is None:
        assert answer.status == 400
        assert origin.count() == before
        return
    assert answer.body == form.encode()
    again = proxy.get(form)  # the form itself is the same key
    assert again.body == form.encode()
    assert origin.count() <= before + 1


def test_the_table_is_long_enough() -> None:
    assert len(FORMS) >= 60


def test_the_query_is_left_alone() -> None:
    for query in ("a=%61", "..%2f..", "a=/../b", "%7e", "a=b;c=d", "", "?", "a'b"):
        with (
            Origin(lambda request: fresh(60, request.target.encode())) as origin,
            Proxy(site(origin)) as proxy,
        ):
            assert proxy.get(f"/%61?{query}").body == f"/a?{query}".encode()
            assert origin.count() == 1


@settings(max_examples=500, deadline=None)
@given(
    st.lists(
        st.sampled_from(["/", ".", "..", "a", "%2e", "%2F", "%61", "%25", "%", "\\", ";", "é", "%00", "~"])
    )
)
def test_the_normal_form_is_its_own_normal_form(pieces: list[str]) -> None:
    path = ("/" + "".join(pieces)).encode("latin-1")
    try:
        form = normal_path(path)
    except HeadError:
        return  # refused
    assert normal_path(form.encode()) == form
    assert form.startswith("/")
    assert not any(segment in (".", "..") for segment in form.split("/"))
