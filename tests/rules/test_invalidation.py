"""What an unsafe request makes invalid (RFC 9111 §4.4), and what references name."""

from __future__ import annotations

import pytest

from cdn.rules.invalidation import targets
from cdn.rules.uris import names_target, resolve, same_origin
from tests.rules.make import lines_of, request, response

OWN = "http://a.example/p"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "FOO", "MKCOL", "post"])
@pytest.mark.parametrize("status", [200, 201, 204, 206, 299, 300, 303, 304, 399])
def test_success_of_an_unsafe_method(method, status):
    assert targets(request(method=method), response(status=status)) == [OWN]


@pytest.mark.parametrize("status", [400, 404, 409, 412, 500, 503, 599, 199])
def test_failure_makes_nothing_invalid(status):
    assert targets(request(method="POST"), response("Location: /x", status=status)) == []


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE"])
def test_safe_methods_make_nothing_invalid(method):
    assert targets(request(method=method), response("Location: /x", status=201)) == []


@pytest.mark.parametrize(
    ("lines", "more"),
    [
        ("Location: /x", ["http://a.example/x"]),
        ("Content-Location: /x", ["http://a.example/x"]),
        ("Location: /x | Content-Location: /y", ["http://a.example/x", "http://a.example/y"]),
        ("Location: /x | Content-Location: /x", ["http://a.example/x"]),
        ("Location: /p", []),
        ("Location: http://a.example/x", ["http://a.example/x"]),
        ("Location: http://A.EXAMPLE:80/x", ["http://a.example/x"]),
        ("Location: //a.example/x", ["http://a.example/x"]),
        ("Location: x", ["http://a.example/x"]),
        ("Location: ?q=1", ["http://a.example/p?q=1"]),
        ("Location: /x?q=1#part", ["http://a.example/x?q=1"]),
        ("Location: http://b.example/x", []),
        ("Location: https://a.example/x", []),
        ("Location: http://a.example:81/x", []),
        ("Location: //b.example/x", []),
        ("Location: http://a.example@b.example/x", []),
        ("Location: http://user@a.example/x", []),
        ("Location: http://a.example.b.example/x", []),
        ("Location: javascript:alert(1)", []),
        ("Location: http://[::1/x", []),
        ("Location: http://a.example:99999999/x", []),
        ("Location: /a b", []),
        ("Location:", []),
        ("Location: /x | Location: /y", ["http://a.example/x", "http://a.example/y"]),
    ],
)
def test_references(lines, more):
    assert targets(request(method="POST"), response(*lines_of(lines), status=201)) == [OWN, *more]


@pytest.mark.parametrize(
    ("reference", "uri"),
    [
        ("", "http://a.example/p"),
        ("/", "http://a.example/"),
        ("../x", "http://a.example/x"),
        ("HTTP://A.example", "http://a.example/"),
        ("http://[::1]:8080/x", "http://[::1]:8080/x"),
        ("https://b.example:443/x", "https://b.example/x"),
        ("http://b.example:443/x", "http://b.example:443/x"),
        ("mailto:a@b", None),
        ("http:///x", "http://a.example/x"),
        ("http://a.example:x/", None),
        ("\x00", None),
    ],
)
def test_resolve(reference, uri):
    assert resolve(reference, request()) == uri


def test_names_target():
    assert names_target("/p?a=b", request(query="a=b"))
    assert not names_target("/p", request(query="a=b"))
    assert names_target("", request())


def test_same_origin_looks_at_all_three():
    asked = request(scheme="https", authority="a.example:8443")
    assert same_origin("https://a.example:8443/x", asked)
    for other in ("http://a.example:8443/x", "https://a.example/x", "https://b.example:8443/x"):
        assert not same_origin(other, asked)
