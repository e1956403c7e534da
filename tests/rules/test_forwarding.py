"""The fields that go on to the origin and back to the client."""

from __future__ import annotations

import pytest

from cdn.config.values import FieldEdits, Rewrite
from cdn.rules.forwarding import (
    client_fields,
    edit,
    forwarded_element,
    loop_id,
    loops,
    origin_fields,
    origin_path,
)
from tests.rules.make import fields, lines_of, request


def sent(*lines, trusted=False, peer="192.0.2.1", host=None, edits=None, **more):
    made = origin_fields(
        request(*lines, **more), node="edge-1", peer=peer, trusted=trusted, host=host, edits=edits
    )
    return [f"{name}: {value}" for name, value in made]


ADDED = [
    "X-Forwarded-For: 192.0.2.1",
    "X-Forwarded-Proto: http",
    "X-Forwarded-Host: a.example",
    "Forwarded: for=192.0.2.1;host=a.example;proto=http",
    "Via: 1.1 edge-1",
    "CDN-Loop: edge-1",
]


def test_a_plain_request():
    lines = sent("Host: A.example", "User-Agent: x", "Accept: */*", "Cookie: a=b", "cookie: c=d")
    assert lines == ["Host: a.example", "User-Agent: x", "Accept: */*", "Cookie: a=b", "cookie: c=d", *ADDED]


@pytest.mark.parametrize(
    "line",
    # poisoning by fields that are in no key (threats: unkeyed input)
    [
        "X-Forwarded: for=9.9.9.9",
        "X-Original-URI: /evil",
        "X-Forwarded-For: 9.9.9.9",
        "X-Forwarded-Host: evil",
        "X-Forwarded-Proto: https",
        "Forwarded: for=9.9.9.9",
        "X-Forwarded-Port: 1",
        "X-Forwarded-Prefix: /evil",
        "X-Forwarded-Server: evil",
        "X-Forwarded-Scheme: nothttps",
        "X-Original-URL: /evil",
        "X-Rewrite-URL: /evil",
        "X-Host: evil",
        "X-Original-Host: evil",
        "X-Real-IP: 9.9.9.9",
        "X-HTTP-Method-Override: DELETE",
        "X-HTTP-Method: DELETE",
        "X-Method-Override: DELETE",
        "Connection: close",
        "Keep-Alive: x",
        "TE: trailers",
        "Transfer-Encoding: chunked",
        "Upgrade: h2c",
        "Proxy-Connection: close",
        "Proxy-Authorization: x",
        "HTTP2-Settings: x",
        "Trailer: x",
    ],
)
def test_what_an_untrusted_peer_says_does_not_go_on(line):
    assert sent(line) == ["Host: a.example", *ADDED]


def test_what_a_connection_field_lists_does_not_go_on():
    assert sent("Connection: X-A", "X-A: 1", "X-B: 2") == ["Host: a.example", "X-B: 2", *ADDED]


def test_a_connection_field_cannot_hide_our_own_lines():
    lines = sent("Connection: x-forwarded-for, via, cdn-loop, host, forwarded, cookie", "Cookie: a=b")
    assert lines == ["Host: a.example", "Cookie: a=b", *ADDED]


@pytest.mark.parametrize("name", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"])
def test_a_method_override_ends_with_a_head_too(name):
    assert sent(f"{name}: DELETE", method="HEAD") == ["Host: a.example", *ADDED]


def test_a_method_override_goes_on_with_an_unsafe_request():
    assert "X-HTTP-Method-Override: PATCH" in sent("X-HTTP-Method-Override: PATCH", method="POST")


def test_a_trusted_peer_is_believed_and_extended():
    lines = sent(
        "X-Forwarded-For: 9.9.9.9, 8.8.8.8",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: public.example",
        "Forwarded: for=9.9.9.9",
        "X-Forwarded-Port: 443",
        trusted=True,
    )
    assert "X-Forwarded-For: 9.9.9.9, 8.8.8.8, 192.0.2.1" in lines
    assert "X-Forwarded-Proto: https" in lines
    assert "X-Forwarded-Host: public.example" in lines
    assert "Forwarded: for=9.9.9.9, for=192.0.2.1;host=a.example;proto=http" in lines
    assert "X-Forwarded-Port: 443" in lines
    names = [line.partition(":")[0] for line in lines]
    assert len(set(names)) == len(names)  # each is one line, ours and theirs


def test_several_lines_of_a_trusted_peer_are_one_list():
    assert "X-Forwarded-For: 1.1.1.1, 2.2.2.2, 192.0.2.1" in sent(
        "X-Forwarded-For: 1.1.1.1", "X-Forwarded-For: 2.2.2.2", trusted=True
    )


def test_via_and_cdn_loop_are_kept_and_extended_whoever_sends_them():
    lines = sent("Via: 1.0 front", "CDN-Loop: other; x=1", version=(1, 0))
    assert "Via: 1.0 front, 1.0 edge-1" in lines
    assert "CDN-Loop: other; x=1, edge-1" in lines
    assert len([line for line in lines if line.startswith(("Via:", "CDN-Loop:"))]) == 2


def test_the_origins_own_host():
    assert sent("Host: a.example", host="origin.internal:81")[0] == "Host: origin.internal:81"
    assert "X-Forwarded-Host: a.example" in sent(host="origin.internal:81")


def test_the_routes_edits_come_last():
    edits = FieldEdits(set=(("X-Edge", "edge-1"), ("via", "none")), remove=("Cookie",))
    lines = sent("Cookie: a=b", "x-edge: client", edits=edits)
    assert lines[-2:] == ["X-Edge: edge-1", "via: none"]
    assert not any(line.lower().startswith(("cookie:", "x-edge: client", "via: 1")) for line in lines)


def test_other_fields_may_stand_for_the_clients():
    made = origin_fields(
        request("A: 1", "If-None-Match: x"),
        node="n",
        peer="::1",
        trusted=False,
        fields=fields("A: 1", 'If-None-Match: "s"'),
    )
    assert made.get("if-none-match") == '"s"'


@pytest.mark.parametrize(
    ("peer", "authority", "element"),
    [
        # RFC 7239 §6
        ("192.0.2.1", "a.example", "for=192.0.2.1;host=a.example;proto=http"),
        ("2001:db8::1", "a.example", 'for="[2001:db8::1]";host=a.example;proto=http'),
        ("192.0.2.1", "a.example:81", 'for=192.0.2.1;host="a.example:81";proto=http'),
        ("192.0.2.1", "[::1]:81", 'for=192.0.2.1;host="[::1]:81";proto=http'),
    ],
)
def test_forwarded(peer, authority, element):
    assert forwarded_element(request(authority=authority), peer) == element


@pytest.mark.parametrize(
    ("lines", "looping"),
    [
        # RFC 8586 §2
        ("", False),
        ("CDN-Loop: other", False),
        ("CDN-Loop: edge-1", True),
        ("CDN-Loop: other, edge-1", True),
        ("CDN-Loop: other | CDN-Loop: edge-1", True),
        ("CDN-Loop: edge-1; a=b, other", True),
        ("CDN-Loop: edge-1;a", True),
        ("CDN-Loop: edge-1 ; a=b", True),
        ("CDN-Loop: edge-1\t;a", True),
        ("CDN-Loop: edge-1X", False),
        ("CDN-Loop: edge-10", False),
        ('CDN-Loop: other; x="edge-1, edge-1"', False),
        ("CDN-Loop: " + ", ".join(f"n{i}" for i in range(31)), False),
        ("CDN-Loop: " + ", ".join(f"n{i}" for i in range(32)), True),
    ],
)
def test_loops(lines, looping):
    assert loops(fields(*lines_of(lines)), "edge-1") is looping


@pytest.mark.parametrize(
    ("node", "made"), [("edge-1", "edge-1"), ("my node", "my-node"), ("é", "-"), ("", "cdn")]
)
def test_loop_id(node, made):
    assert loop_id(node) == made


def test_a_name_that_is_no_token_is_found_again():
    made = origin_fields(request(), node="my node", peer="::1", trusted=False)
    assert loops(made, "my node")


@pytest.mark.parametrize(
    ("edits", "wanted"),
    [
        (None, "A: 1 | B: 2 | a: 3"),
        (FieldEdits(), "A: 1 | B: 2 | a: 3"),
        (FieldEdits(remove=("a",)), "B: 2"),
        (FieldEdits(set=(("A", "9"),)), "B: 2 | A: 9"),
        (FieldEdits(set=(("C", "9"),)), "A: 1 | B: 2 | a: 3 | C: 9"),
        (FieldEdits(set=(("A", "8"), ("A", "9")), remove=("b",)), "A: 8 | A: 9"),
        (FieldEdits(set=(("A", "9"),), remove=("A",)), "B: 2 | A: 9"),
    ],
)
def test_edit(edits, wanted):
    assert [f"{n}: {v}" for n, v in edit(fields("A: 1", "B: 2", "a: 3"), edits)] == lines_of(wanted)


def test_a_response_for_the_client():
    made = client_fields(
        fields("Server: x", "Connection: X-A", "X-A: 1", "Via: 1.1 shield", "A: 1"),
        node="edge-1",
        version=(1, 0),
        edits=FieldEdits(remove=("server",), set=(("X-Frame-Options", "DENY"),)),
    )
    assert [f"{n}: {v}" for n, v in made] == [
        "Via: 1.1 shield",
        "A: 1",
        "X-Frame-Options: DENY",
        "Via: 1.0 edge-1",
    ]


@pytest.mark.parametrize(
    ("strip", "add", "path", "asked"),
    [
        ("", "", "/a/b", "/a/b"),
        ("/a", "", "/a/b", "/b"),
        ("/a", "", "/a", "/"),
        ("/a", "", "/a/", "/"),
        ("/a", "", "/ab", "/ab"),
        ("/a", "", "/A/b", "/A/b"),
        ("/a", "", "/b/a/c", "/b/a/c"),
        ("/a", "", "/a/a/b", "/a/b"),
        ("/a/b", "", "/a/b/c", "/c"),
        ("/a", "", "/a//b", "//b"),
        ("/a", "", "/a%2fb", "/a%2fb"),
        ("", "/v2", "/a", "/v2/a"),
        ("", "/v2", "/", "/v2/"),
        ("/a", "/v2", "/a", "/v2/"),
        ("/a", "/v2", "/a/b", "/v2/b"),
        ("/a", "/v2", "/b", "/v2/b"),
        ("/a", "/v2", "*", "*"),
    ],
)
def test_rewritten_paths(strip, add, path, asked):
    assert origin_path(path, Rewrite(strip, add)) == asked
