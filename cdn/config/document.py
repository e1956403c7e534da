"""A YAML text as nodes that know their lines; the only file that knows PyYAML's reading side.

Accepted is YAML as JSON would have it (text, lists, mappings with text keys) with anchors and merge keys.
Tags that build other things are mistakes. Work is bounded whatever the text holds: at most `MAX_NODES`
values once aliases are expanded, at most `MAX_DEPTH` levels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import yaml

from cdn.config.problems import quote

MAX_NODES = 200_000
MAX_DEPTH = 40

_CORE = "tag:yaml.org,2002:"
_SCALARS = frozenset(_CORE + kind for kind in ("str", "int", "float", "bool", "null", "timestamp", "value"))
_MERGE = _CORE + "merge"

Report = Callable[[int, str], None]


@dataclass(frozen=True, slots=True)
class Scalar:
    """`text` as written (quotes removed); `kind` is what YAML 1.1 takes it for: str, int, bool, null, …"""

    text: str
    kind: str
    line: int


@dataclass(frozen=True, slots=True)
class Sequence:
    items: tuple[Node, ...]
    line: int


@dataclass(frozen=True, slots=True)
class Mapping:
    """Entries in the order of the file; keys are text and occur once."""

    entries: tuple[tuple[Scalar, Node], ...]
    line: int


Node = Scalar | Sequence | Mapping


class _BrokenError(Exception):
    """The text cannot be understood from here on."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


def read(text: str, report: Report) -> Node | None:
    """The document in `text`, or None when nothing can be made of it; mistakes go to `report`."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        return None if root is None else _Converter(report).node(root, 0)
    except RecursionError:
        report(1, f"the text is nested deeper than {MAX_DEPTH} levels")
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        report(line, "not YAML: a character that YAML does not allow")
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        report(mark.line + 1 if mark else 1, f"not YAML: {_explain(error)}")
    except _BrokenError as error:
        report(error.line, str(error))
    return None


def _explain(error: yaml.MarkedYAMLError) -> str:
    context, problem = error.context or "", error.problem or "syntax error"
    if "undefined alias" in problem:
        return f"{problem.removeprefix('found ')}; a text that begins with `*` needs quotes"
    if "alias" in context:
        return 'a value that begins with `*` needs quotes, such as "*.example.org"'
    if "anchor" in context:
        return "a value that begins with `&` needs quotes"
    if r"'\t'" in problem:
        return "a tab stands where YAML wants spaces"
    if "mapping values are not allowed here" in problem:
        return "a `:` where no key can stand; check the indentation, or put quotes around the value"
    if "could not find expected ':'" in problem:
        return "a key without its `:`"
    if "expected a single document" in context:
        return "a second document begins; one file holds one configuration"
    return f"{problem} ({context})" if context else problem


class _Converter:
    def __init__(self, report: Report) -> None:
        self._report = report
        self._count = 0

    def node(self, node: yaml.Node, depth: int, introduced: int = 0) -> Node:
        """`introduced`: the line of the key that holds this node, which a block below it takes."""
        line = node.start_mark.line + 1
        self._count += 1
        if self._count > MAX_NODES:
            raise _BrokenError(
                line, f"the text holds more than {MAX_NODES:,} values once its aliases are expanded"
            )
        if depth > MAX_DEPTH:
            raise _BrokenError(line, f"the text is nested deeper than {MAX_DEPTH} levels")
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, line)
        if 0 < introduced < line:
            line = introduced
        if isinstance(node, yaml.SequenceNode):
            self._core_tag(node, "seq")
            return Sequence(tuple(self.node(item, depth + 1) for item in node.value), line)
        assert isinstance(node, yaml.MappingNode)
        self._core_tag(node, "map")
        return Mapping(self._entries(node, depth), line)

    def _scalar(self, node: yaml.ScalarNode, line: int) -> Scalar:
        tag = str(node.tag)
        if tag not in _SCALARS:
            self._report(line, f"the tag {quote(tag)} has no meaning here; leave it out")
        return Scalar(str(node.value), tag.removeprefix(_CORE), line)

    def _core_tag(self, node: yaml.Node, kind: str) -> None:
        if node.tag != _CORE + kind:
            self._report(
                node.start_mark.line + 1, f"the tag {quote(str(node.tag))} has no meaning here; leave it out"
            )

    def _entries(self, node: yaml.MappingNode, depth: int) -> tuple[tuple[Scalar, Node], ...]:
        own: dict[str, tuple[Scalar, Node]] = {}
        merged: dict[str, tuple[Scalar, Node]] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if key_node.tag == _MERGE:
                for key, value in self._merged(self.node(value_node, depth + 1), line):
                    merged.setdefault(key.text, (key, value))
                continue
            if not isinstance(key_node, yaml.ScalarNode):
                self._report(line, "a key must be plain text, not a list or a mapping")
                continue
            key = self._scalar(key_node, line)
            value = self.node(value_node, depth + 1, line)
            if key.text in own:
                first = own[key.text][0].line
                self._report(
                    line, f"the key {quote(key.text)} is here a second time; the first is on line {first}"
                )
                continue
            own[key.text] = (key, value)
        return tuple((merged | own).values())

    def _merged(self, node: Node, line: int) -> tuple[tuple[Scalar, Node], ...]:
        """The entries that `<<` brings; the first of several mappings wins, as in YAML's merge type."""
        parts = node.items if isinstance(node, Sequence) else (node,)
        entries: list[tuple[Scalar, Node]] = []
        for part in parts:
            if isinstance(part, Mapping):
                entries.extend(part.entries)
            else:
                self._report(line, "`<<` takes a mapping or a list of mappings")
        return tuple(entries)
