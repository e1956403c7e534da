"""The index of No-Vary-Search: what it finds, and that it stays small."""

from __future__ import annotations

from cdn.config.values import CachePolicy
from cdn.proxy.equivalents import LONGEST, Equivalent, Equivalents
from cdn.proxy.lookup import primary_key
from cdn.rules.message import Fields, RequestHead

UTM = Fields([("No-Vary-Search", 'params=("utm")')])


def asked(query: str | None, path: str = "/a", **more: str) -> RequestHead:
    return RequestHead("GET", more.get("scheme", "http"), more.get("host", "a.test"), path, query, Fields())


def key(request: RequestHead) -> bytes:
    return primary_key(request, request.query, CachePolicy())


def learn(index: Equivalents, request: RequestHead, fields: Fields = UTM, extra: bytes = b"") -> None:
    index.learn(request, request.query, key(request) + extra, fields)


def find(index: Equivalents, request: RequestHead, extra: bytes = b"") -> Equivalent | None:
    return index.find(request, request.query, key(request) + extra)


def test_it_finds_the_same_path_and_extras() -> None:
    index = Equivalents()
    assert find(index, asked("x")) is None
    learn(index, asked("x=1"), extra=b"e")
    assert find(index, asked("utm=2&x=1"), b"e") == Equivalent(key(asked("x=1")) + b"e", "x=1")
    assert find(index, asked("x=1"), b"e") is None  # that is its own
    assert find(index, asked("utm=2&x=1"), b"f") is None
    assert find(index, asked("x=2"), b"e") is None
    assert find(index, asked("x=1&utm", "/b"), b"e") is None
    assert find(index, asked("x=1&utm", scheme="https"), b"e") is None
    assert find(index, asked("x=1&utm", host="b.test"), b"e") is None


def test_the_newest_key_counts() -> None:
    index = Equivalents()
    learn(index, asked("x=1"))
    learn(index, asked("x=1&utm=1"))
    assert find(index, asked("x=1&utm=2")) == Equivalent(key(asked("x=1&utm=1")), "x=1&utm=1")
    assert index.keys(asked("x=1"), "x=1") == [key(asked("x=1&utm=1"))]


def test_it_stays_small() -> None:
    index = Equivalents(paths=2, sets=3, each=2)
    for path in ("/a", "/b", "/c"):
        learn(index, asked("x=1", path))
    assert find(index, asked("x=1&utm", "/a")) is None
    assert find(index, asked("x=1&utm", "/c")) is not None
    for number in range(3):
        learn(index, asked("x=9", "/c"), extra=bytes([number]))
    assert [len(key_) for key_ in index.keys(asked("x=9", "/c"), "x=9")] == [
        len(key(asked("x=9", "/c"))) + 1
    ] * 2
    assert find(index, asked("x=9&utm", "/c"), b"\x00") is None
    assert find(index, asked("x=9&utm", "/c"), b"\x02") is not None
    for number in range(3):
        learn(index, asked(f"x={number}", "/d"))
    assert index.keys(asked("x=9", "/c"), "x=9") == []


def test_long_keys_and_silent_responses_are_left_out() -> None:
    index = Equivalents()
    learn(index, asked("x=" + "1" * LONGEST))
    learn(index, asked("y=1"), Fields())
    assert index.keys(asked("x=" + "1" * LONGEST), "x=" + "1" * LONGEST) == []
    assert index.keys(asked("y=1"), "y=1") == []
