"""YAML as nodes with lines, and text that means harm: an answer in bounded time, never another exception."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdn.config import ConfigError, parse
from cdn.config.document import Mapping, Node, Scalar, Sequence, read

LINES = """\
# a comment
a: 1
b:
  c: [x,
      y]
  d:
    - one
    - e: f

g: >
  folded
  text
"""


def nodes(node: Node, path: str = "") -> list[tuple[str, int]]:
    found = [(path, node.line)]
    if isinstance(node, Mapping):
        for key, value in node.entries:
            found += nodes(value, f"{path}.{key.text}")
    if isinstance(node, Sequence):
        for index, value in enumerate(node.items):
            found += nodes(value, f"{path}[{index}]")
    return found


def test_lines() -> None:
    said: list[tuple[int, str]] = []
    root = read(LINES, lambda line, message: said.append((line, message)))
    assert root is not None
    assert not said
    assert nodes(root) == [
        ("", 2),
        (".a", 2),
        (".b", 3),
        (".b.c", 4),
        (".b.c[0]", 4),
        (".b.c[1]", 5),
        (".b.d", 6),
        (".b.d[0]", 7),
        (".b.d[1]", 8),
        (".b.d[1].e", 8),
        (".g", 10),
    ]


def test_scalars_keep_their_text() -> None:
    root = read('[010, 1_0, on, "on", ~, 1:30, 2026-01-01, .5, "a\\nb"]', lambda line, message: None)
    assert isinstance(root, Sequence)
    assert [(item.text, item.kind) for item in root.items if isinstance(item, Scalar)] == [
        ("010", "int"),
        ("1_0", "int"),
        ("on", "bool"),
        ("on", "str"),
        ("~", "null"),
        ("1:30", "int"),
        ("2026-01-01", "timestamp"),
        (".5", "float"),
        ("a\nb", "str"),
    ]


HOSTILE = {
    "brackets": "[" * 100_000,
    "braces": "{" * 100_000,
    "dashes": "- " * 20_000,
    "question marks": "? " * 20_000,
    "nested mappings": "".join(" " * n + "a:\n" for n in range(2_000)),
    "expansion": "a0: &a0 [x]\n"
    + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 20)),
    "merge expansion": "a0: &a0 {k: v}\n"
    + "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 20)),
    "recursion": "a: &a [*a]",
    "recursive merge": "a: &a {<<: *a}",
    "python object": "!!python/object/apply:os.system [touch /tmp/never]",
    "binary": "a: !!binary aGVsbG8=",
    "set": "a: !!set {a, b}",
    "nul": "a: \x00",
    "surrogate escape": 'a: "\\ud800"',
    "huge key": "a" * 100_000 + ": 1",
    "huge number": "workers: " + "9" * 100_000,
    "odd directive": "%YAML 9.9\n---\na: 1",
    "odd tag handle": "%TAG ! tag:x,2026:\n---\n!a b",
    "undefined handle": "!x!y z",
    "next line": "a: b\x85c: d",
    "anchor alone": "&",
    "alias alone": "*",
    "complex keys": "? {a: b}\n: c\n? [d]\n: e\n",
    "only marks": "---\n...\n",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile(text: str) -> None:
    started = time.monotonic()
    with pytest.raises(ConfigError) as caught:
        parse(text, "bad.yaml")
    assert time.monotonic() - started < 20
    assert caught.value.problems
    for problem in caught.value.problems:
        assert str(problem).startswith("bad.yaml:")
        assert str(problem).isprintable(), problem
        assert len(str(problem)) < 500
        assert 1 <= problem.line <= text.count("\n") + 2


@given(st.text(alphabet=st.sampled_from(list("ab:-[]{},&*!|>'\"%@#?\n \t\\<0~")), max_size=60))
def test_any_text(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert all(str(problem).isprintable() for problem in caught.value.problems)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 70_000)
    | st.sampled_from(["x", "10s", "1 MiB", "/", "*", "", "http://a"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["url", "host", "path", "x"]), inner)
    ),
    max_leaves=6,
)
KEYS = [
    "node",
    "workers",
    "busy_poll",
    "listen",
    "admin",
    "trusted_proxies",
    "store",
    "limits",
    "timeouts",
    "log",
    "origins",
    "shields",
    "routes",
    "match",
    "cache",
]


@given(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=8))
def test_any_values(values: dict[str, object]) -> None:
    """JSON is YAML: whatever stands under known keys, the answer is a list of problems."""
    import json

    with pytest.raises(ConfigError) as caught:
        parse(json.dumps(values))
    assert caught.value.problems
