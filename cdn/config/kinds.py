"""The kinds of single value a key can take: each reads a node, shows a value, and says what it is.

`read` returns the value or BAD; what is wrong goes to the reader, so that one pass finds every mistake.
`show` is its inverse, what YAML would hold for the value. Nothing here knows a particular key.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from cdn.config import units
from cdn.config.document import Mapping, Node, Scalar, Sequence
from cdn.config.problems import BadValueError, Problem, quote, suggestion


class Mark:
    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


BAD: Final = Mark("BAD")  # the node was wrong and that has been said
REQUIRED: Final = Mark("REQUIRED")
OMIT: Final = Mark("OMIT")  # show: leave the key out
LATER: Final = "is not available yet"


class Reader:
    """Where mistakes are collected, and what the checks across sections need to know."""

    def __init__(self, source: str, base: str, homes: dict[str, list[str]]) -> None:
        self.source = source
        self.base = base  # the folder that relative paths start from
        self.homes = homes  # the sections in which a key is known
        self.problems: list[Problem] = []
        self.references: list[tuple[int, str, str]] = []  # line, path of the key, name of an origin
        self.bound: list[tuple[int, str, Any]] = []  # line, path of the key, Address

    def wrong(self, line: int, path: str, predicate: str) -> Mark:
        """`path` (empty: the whole file) is what `predicate` says."""
        subject = quote(path, 160) if path else "the configuration"
        self.problems.append(Problem(self.source, line, f"{subject} {predicate}"))
        return BAD


class Kind(ABC):
    @abstractmethod
    def read(self, node: Node, path: str, reader: Reader) -> Any: ...

    @abstractmethod
    def describe(self) -> str:
        """For the reference, in the language of the contract: `duration`, `on | off`, `list of …`."""

    def show(self, value: Any) -> Any:
        return value


def wrong_type(node: Node, wanted: str) -> str:
    if isinstance(node, Sequence):
        return f"must be {wanted}, not a list"
    if isinstance(node, Mapping):
        return f"must be {wanted}, not a section"
    if node.kind == "null":
        return f"is empty; it must be {wanted}"
    return f"is {quote(node.text)}; it must be {wanted}"


@dataclass(frozen=True)
class Text(Kind):
    """Text that `parse` turns into a value (or raises BadValueError), and `shown` turns back."""

    what: str
    parse: Callable[[str], Any] = str
    shown: Callable[[Any], Any] = str
    literal: bool = False  # numbers and yes/no are taken as the text that they are, too

    def read(self, node: Node, path: str, reader: Reader) -> Any:
        if not isinstance(node, Scalar) or node.kind == "null":
            return reader.wrong(node.line, path, wrong_type(node, self.what))
        try:
            value = self.parse(node.text)
        except BadValueError as error:
            return reader.wrong(node.line, path, str(error))
        if node.kind in {"int", "float", "bool"} and not self.literal:
            return reader.wrong(
                node.line, path, f'is {quote(node.text)}, which YAML takes for no text; write "{node.text}"'
            )
        return value

    def show(self, value: Any) -> Any:
        return self.shown(value)

    def describe(self) -> str:
        return self.what


@dataclass(frozen=True)
class Quantity(Kind):
    """A number with its unit, within bounds."""

    what: str
    parse: Callable[[str, str], int]
    shown: Callable[[int], str]
    example: str
    least: int
    most: int

    def read(self, node: Node, path: str, reader: Reader) -> Any:
        if not isinstance(node, Scalar) or node.kind in {"null", "bool"}:
            return reader.wrong(node.line, path, wrong_type(node, f"a {self.what} such as `{self.example}`"))
        try:
            value = self.parse(node.text, self.example)
        except BadValueError as error:
            return reader.wrong(node.line, path, str(error))
        if value < self.least:
            return reader.wrong(
                node.line, path, f"is {quote(node.text)}; the least is `{self.shown(self.least)}`"
            )
        if value > self.most:
            return reader.wrong(
                node.line, path, f"is {quote(node.text)}; the most is `{self.shown(self.most)}`"
            )
        return value

    def show(self, value: Any) -> Any:
        return self.shown(value)

    def describe(self) -> str:
        return f"a {self.what}, {self.shown(self.least)} … {self.shown(self.most)}"


def size(example: str, least: str, most: str) -> Quantity:
    low, high = units.parse_size(least), units.parse_size(most)
    return Quantity("size", units.parse_size, units.format_size, example, low, high)


def duration(example: str, least: str, most: str) -> Quantity:
    low, high = units.parse_duration(least), units.parse_duration(most)
    return Quantity("duration", units.parse_duration, units.format_duration, example, low, high)


def moment(example: str, least: str, most: str) -> Quantity:
    """A duration in microseconds."""
    low, high = units.parse_moment(least), units.parse_moment(most)
    return Quantity("duration", units.parse_moment, units.format_moment, example, low, high)


def percent(example: str, least: str, most: str) -> Quantity:
    low, high = units.parse_percent(least), units.parse_percent(most)
    return Quantity("percentage", units.parse_percent, units.format_percent, example, low, high)


def rate(example: str, least: str, most: str) -> Quantity:
    low, high = units.parse_rate(least), units.parse_rate(most)
    return Quantity("rate", units.parse_rate, units.format_rate, example, low, high)


@dataclass(frozen=True)
class Count(Kind):
    """A whole number without a unit, within bounds."""

    least: int
    most: int

    def read(self, node: Node, path: str, reader: Reader) -> Any:
        wanted = f"a whole number from {self.least} to {self.most}"
        if not isinstance(node, Scalar):
            return reader.wrong(node.line, path, wrong_type(node, wanted))
        digits = node.text.replace("_", "")
        if not re.fullmatch(r"0|[1-9][0-9]{0,14}", digits) or not self.least <= int(digits) <= self.most:
            return reader.wrong(node.line, path, wrong_type(node, wanted))
        if node.kind != "int":
            return reader.wrong(node.line, path, f"is text; write {digits} without quotes")
        return int(digits)

    def describe(self) -> str:
        return f"a number, {self.least} … {self.most}"


class Flag(Kind):
    def read(self, node: Node, path: str, reader: Reader) -> Any:
        if not isinstance(node, Scalar) or node.kind != "bool":
            return reader.wrong(node.line, path, wrong_type(node, "`true` or `false`"))
        return is_on(node)

    def describe(self) -> str:
        return "`true` | `false`"


@dataclass(frozen=True)
class FlagOr(Flag):
    """Yes, no, or one word for something between."""

    word: str

    def read(self, node: Node, path: str, reader: Reader) -> Any:
        if isinstance(node, Scalar) and node.text == self.word:
            return self.word
        if not isinstance(node, Scalar) or node.kind != "bool":
            return reader.wrong(node.line, path, wrong_type(node, f"`true`, `{self.word}` or `false`"))
        return is_on(node)

    def describe(self) -> str:
        return f"`true` | `{self.word}` | `false`"


def is_on(node: Scalar) -> bool:
    return node.text.lower() in {"true", "yes", "on"}


@dataclass(frozen=True)
class Choice(Kind):
    """One of a few words; `later` are those that will mean something one day."""

    words: tuple[str, ...]
    later: tuple[str, ...] = ()
    make: Callable[[str], Any] = str
    shown: Callable[[Any], str] = str

    def read(self, node: Node, path: str, reader: Reader) -> Any:
        if not isinstance(node, Scalar) or node.kind == "null":
            return reader.wrong(node.line, path, wrong_type(node, " | ".join(self.words)))
        if node.text in self.words:
            return self.make(node.text)
        if node.text in self.later:
            return reader.wrong(node.line, f"{path}: {node.text}", LATER)
        return reader.wrong(node.line, path, f"is {quote(node.text)}{suggestion(node.text, self.words)}")

    def show(self, value: Any) -> Any:
        return self.shown(value)

    def describe(self) -> str:
        words = " | ".join(f"`{word}`" for word in self.words)
        return f"{words} (not available yet: {', '.join(self.later)})" if self.later else words


@dataclass(frozen=True)
class Or(Kind):
    """A word that stands for a value, or else another kind; `closed`: no other single word can be right."""

    word: str
    value: Any
    kind: Kind
    matches: Callable[[Scalar], bool]
    closed: bool = False

    def read(self, node: Node, path: str, reader: Reader) -> Any:
        if isinstance(node, Scalar) and self.matches(node):
            return self.value
        if isinstance(node, Scalar) and self.closed:
            value = self.kind.read(node, path, Reader(reader.source, reader.base, reader.homes))
            wanted = f"`{self.word}` or {self.kind.describe()}"
            return reader.wrong(node.line, path, wrong_type(node, wanted)) if value is BAD else value
        return self.kind.read(node, path, reader)

    def show(self, value: Any) -> Any:
        return Bare(self.word) if value == self.value else self.kind.show(value)

    def describe(self) -> str:
        return f"`{self.word}` | {self.kind.describe()}"


class Bare(str):
    """A word that is written into YAML without quotes."""


def nullable(kind: Kind) -> Or:
    return Or("null", None, kind, lambda node: node.kind == "null")


def or_off(kind: Kind) -> Or:
    """`off`, in quotes too: YAML takes the bare word for a boolean, which not everybody trusts it to do."""
    return Or("off", None, kind, _is_off, closed=True)


def _is_off(node: Scalar) -> bool:
    return node.text == "off" or (node.kind == "bool" and not is_on(node))
