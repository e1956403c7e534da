"""Tags and cache groups (RFC 9875)."""

from __future__ import annotations

import pytest

from cdn.rules.tags import MAX_LENGTH, MAX_TAGS, MAX_TOTAL, group_tag, invalidated_tags, tags_of
from tests.rules.make import lines_of, request, response, stored

A, B = group_tag(request(), "a"), group_tag(request(), "b")

CASES = [
    ("", ()),
    ("Surrogate-Key: a b  c", ("a", "b", "c")),
    ("Surrogate-Key: a, b", ("a", "b")),
    ("Surrogate-Key: a | Surrogate-Key: b", ("a", "b")),
    ("Cache-Tag: a, b c ,d", ("a", "b c", "d")),
    ("Surrogate-Key: a | Cache-Tag: a, b", ("a", "b")),
    ("Surrogate-Key:", ()),
    ("Cache-Tag: ,", ()),
    ('Cache-Groups: "a", "b"', (A, B)),
    ('Cache-Groups: "a" | Cache-Groups: "b"', (A, B)),
    ('Cache-Groups: "a";x=1, "a"', (A,)),
    ('Cache-Groups: ""', (group_tag(request(), ""),)),
    ("Cache-Groups: a", ()),
    ('Cache-Groups: "a", 1', ()),
    ('Cache-Groups: ("a")', ()),
    ('Cache-Groups: "a', ()),
    ('Cache-Groups: "a",', ()),
    ('Surrogate-Key: x | Cache-Groups: "a"', (A, "x")),
]


@pytest.mark.parametrize(("lines", "tags"), CASES)
def test_tags(lines, tags):
    assert tags_of(request(), response(*lines_of(lines)).fields) == tags
    assert stored("Cache-Control: max-age=60", *lines_of(lines)).tags == tags


def test_groups_belong_to_one_origin():
    names = {
        group_tag(asked, "a")
        for asked in (request(), request(scheme="https"), request(authority="b.example"))
    }
    assert len(names) == 3
    assert tags_of(request(), response("Cache-Tag: a").fields) != (A,)


def test_tags_are_bounded():
    many = " ".join(f"t{i}" for i in range(MAX_TAGS + 10))
    assert len(tags_of(request(), response(f"Surrogate-Key: {many}").fields)) == MAX_TAGS
    assert tags_of(request(), response(f"Surrogate-Key: {'x' * (MAX_LENGTH + 1)} y").fields) == ("y",)
    long = " ".join(f"{i:0>{MAX_LENGTH}}" for i in range(MAX_TOTAL // MAX_LENGTH + 5))
    assert len(tags_of(request(), response(f"Surrogate-Key: {long}").fields)) == MAX_TOTAL // MAX_LENGTH
    both = tags_of(request(), response(f"Surrogate-Key: {many}", 'Cache-Groups: "a"').fields)
    assert both[0] == A
    assert len(both) == MAX_TAGS
    groups = ", ".join(f'"{"x" * 32}{i}"' for i in range(32))
    assert len(tags_of(request(), response(f"Cache-Groups: {groups}").fields)) == 32


@pytest.mark.parametrize(
    ("method", "status", "lines", "tags"),
    [
        ("POST", 200, 'Cache-Group-Invalidation: "a", "b"', [A, B]),
        ("DELETE", 204, 'Cache-Group-Invalidation: "a"', [A]),
        ("UNHEARD-OF", 303, 'Cache-Group-Invalidation: "a"', [A]),
        ("POST", 399, 'Cache-Group-Invalidation: "a"', [A]),
        ("POST", 199, 'Cache-Group-Invalidation: "a"', []),
        ("GET", 200, 'Cache-Group-Invalidation: "a"', []),
        ("HEAD", 200, 'Cache-Group-Invalidation: "a"', []),
        ("POST", 400, 'Cache-Group-Invalidation: "a"', []),
        ("POST", 500, 'Cache-Group-Invalidation: "a"', []),
        ("POST", 200, "Cache-Group-Invalidation: a", []),
        ("POST", 200, 'Cache-Groups: "a"', []),
    ],
)
def test_invalidated_tags(method, status, lines, tags):
    assert invalidated_tags(request(method=method), response(*lines_of(lines), status=status)) == tags


def test_invalidated_groups_are_bounded():
    names = ", ".join(f'"{i}", "{i}"' for i in range(MAX_TAGS + 10))
    tags = invalidated_tags(request(method="POST"), response(f"Cache-Group-Invalidation: {names}"))
    assert tags == [group_tag(request(), str(i)) for i in range(MAX_TAGS)]
