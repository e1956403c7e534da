"""The kinds of value a key can take: each reads a node, shows a value, and says what it is.

`read` returns the value or BAD; what is wrong goes to the reader, so that one pass finds every mistake. `show`
is its inverse: what YAML would hold for the value. Nothing here knows a particular key.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from cdn.config import units
from cdn.config.document import Mapping, Node, Scalar, Sequence
from cdn.config.problems import BadValueError, Problem, quote, suggestion


class _Mark:
    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


BAD: Final = _Mark("BAD")  # the node was wrong and that has been said
REQUIRED: Final = _Mark("REQUIRED")
OMIT: Final = _Mark("OMIT")  # show: leave the key out
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

    def wrong(self, line: int, path: str, predicate: str) -> _Mark:
        """`path` (empty: the whole file) is what `predicate` says."""
        subject = quote(path) if path else "the configuration"
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


def _wrong_type(node: Node, wanted: str) -> str:
    if isinstance(node, Sequence):
        return f"must be {wanted}, not a list"
    if isinstance(node, Mapping):
        return f"must be {wanted}, not a section"
    if node.kind == "null":
        return f"is empty; it must be {wanted}, or be left out"
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
            return reader.wrong(node.line, path, _wrong_type(node, self.what))
        if node.kind in {"int", "float", "bool"} and not self.literal:
            return reader.wrong(
                node.line, path, f'is {quote(node.text)}; it must be {self.what}: write "{node.text[:80]}"'
            )
        try:
            return self.parse(node.text)
        except BadValueError as error:
            return reader.wrong(node.line, path, str(error))

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
            return reader.wrong(node.line, path, _wrong_type(node, f"a {self.what} such as `{self.example}`"))
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
        return f"{self.what}, {self.shown(self.least)} … {self.shown(self.most)}"


def size(example: str, least: str, most: str) -> Quantity:
    low, high = units.parse_size(least), units.parse_size(most)
    return Quantity("size", units.parse_size, units.format_size, example, low, high)


def duration(example: str, least: str, most: str) -> Quantity:
    low, high = units.parse_duration(least), units.parse_duration(most)
    return Quantity("duration", units.parse_duration, units.format_duration, example, low, high)


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
            return reader.wrong(node.line, path, _wrong_type(node, wanted))
        digits = node.text.replace("_", "")
        if node.kind != "int" or not digits.lstrip("-").isdigit() or len(digits) > 15:
            return reader.wrong(node.line, path, _wrong_type(node, wanted))
        if not self.least <= int(digits) <= self.most:
            return reader.wrong(node.line, path, f"is {quote(node.text)}; it must be {wanted}")
        return int(digits)

    def describe(self) -> str:
        return f"number, {self.least} … {self.most}"


class Flag(Kind):
    def read(self, node: Node, path: str, reader: Reader) -> Any:
        if not isinstance(node, Scalar) or node.kind != "bool":
            return reader.wrong(node.line, path, _wrong_type(node, "`true` or `false`"))
        return is_on(node)

    def describe(self) -> str:
        return "true \\| false"


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
            return reader.wrong(node.line, path, _wrong_type(node, " | ".join(self.words)))
        if node.text in self.words:
            return self.make(node.text)
        if node.text in self.later:
            return reader.wrong(node.line, f"{path}: {node.text}", LATER)
        return reader.wrong(node.line, path, f"is {quote(node.text)}{suggestion(node.text, self.words)}")

    def show(self, value: Any) -> Any:
        return self.shown(value)

    def describe(self) -> str:
        return " \\| ".join(f"`{word}`" for word in self.words)


@dataclass(frozen=True)
class Or(Kind):
    """A word (of YAML's own kind, such as null or off) that stands for a value, or else another kind."""

    word: str
    value: Any
    kind: Kind
    matches: Callable[[Scalar], bool]

    def read(self, node: Node, path: str, reader: Reader) -> Any:
        if isinstance(node, Scalar) and self.matches(node):
            return self.value
        return self.kind.read(node, path, reader)

    def show(self, value: Any) -> Any:
        return Bare(self.word) if value == self.value else self.kind.show(value)

    def describe(self) -> str:
        return f"`{self.word}` \\| {self.kind.describe()}"


class Bare(str):
    """A word that is written into YAML without quotes."""


def nullable(kind: Kind) -> Or:
    return Or("null", None, kind, lambda node: node.kind == "null")


def or_off(kind: Kind) -> Or:
    return Or("off", None, kind, lambda node: node.kind == "bool" and not is_on(node))


@dataclass(frozen=True)
class ListOf(Kind):
    """A list; `empty` is what to do instead of an empty one, where that is no value.

    `same` gives what two items must not have in common (None: anything goes).
    """

    kind: Kind
    example: str
    empty: str | None = None
    same: Callable[[Any], Any] | None = lambda item: item

    def read(self, node: Node, path: str, reader: Reader) -> Any:
        if not isinstance(node, Sequence):
            wanted = "a list"
            if isinstance(node, Scalar) and node.kind != "null":
                wanted += (
                    f": write [{node.text[:80]}]" if node.text.isprintable() else f" such as {self.example}"
                )
                return reader.wrong(node.line, path, f"must be {wanted}")
            return reader.wrong(node.line, path, _wrong_type(node, f"a list such as {self.example}"))
        if not node.items and self.empty is not None:
            return reader.wrong(node.line, path, f"is an empty list; {self.empty}")
        values: list[Any] = []
        seen: list[Any] = []
        for index, item in enumerate(node.items):
            value = self.kind.read(item, f"{path}[{index}]", reader)
            values.append(value)
            if value is BAD or self.same is None:
                continue
            if self.same(value) in seen:
                values.append(
                    reader.wrong(item.line, f"{path}[{index}]", "repeats what is in the list already")
                )
            seen.append(self.same(value))
        return BAD if any(value is BAD for value in values) else tuple(values)

    def show(self, value: Any) -> Any:
        if not value and self.empty is not None:
            return OMIT
        return [self.kind.show(item) for item in value]

    def describe(self) -> str:
        return f"list of {self.kind.describe()}"


@dataclass(frozen=True)
class MapOf(Kind):
    """Free names to values of one kind, as a tuple of pairs; `same` says which names count as one."""

    name: Text
    kind: Kind
    same: Callable[[Any], Any] = lambda name: name
    ordered: bool = True  # False: the order means nothing and the normal form sorts
    empty: str | None = None
    show_pair: Callable[[Any, Any], Any] = lambda name, value: value

    def read(self, node: Node, path: str, reader: Reader) -> Any:
        if not isinstance(node, Mapping):
            return reader.wrong(node.line, path, _wrong_type(node, f"a section of {self.name.what}: value"))
        if not node.entries and self.empty is not None:
            return reader.wrong(node.line, path, f"is empty; {self.empty}")
        pairs: dict[Any, tuple[Any, Any]] = {}
        good = True
        for key, item in node.entries:
            here = f"{path}.{key.text[:64]}"
            name = self.name.read(key, here, reader)
            value = self.read_item(name, item, here, reader)
            if name is BAD:
                good = False
                continue
            if self.same(name) in pairs:
                value = reader.wrong(key.line, here, "is there twice: upper and lower case do not differ")
            pairs[self.same(name)] = (name, value)
            good = good and value is not BAD
        if not good:
            return BAD
        return tuple(pairs.values() if self.ordered else sorted(pairs.values()))

    def read_item(self, name: Any, node: Node, path: str, reader: Reader) -> Any:
        return self.kind.read(node, path, reader)

    def show(self, value: Any) -> Any:
        return {self.name.show(name): self.show_pair(name, self.kind.show(item)) for name, item in value}

    def describe(self) -> str:
        return f"{self.name.what}: {self.kind.describe()}"


@dataclass(frozen=True)
class Key:
    """One key of a section; without a kind it is one whose feature is not built yet."""

    name: str
    kind: Kind | None
    help: str
    attribute: str = ""

    @property
    def field(self) -> str:
        return self.attribute or self.name

    @property
    def later(self) -> bool:
        return self.kind is None


def later(name: str, help_: str) -> Key:
    return Key(name, None, help_)


@dataclass(frozen=True)
class Section(Kind):
    """A mapping with known keys, made into a value by `make` (a dataclass: its defaults are the keys')."""

    make: Callable[..., Any]
    keys: tuple[Key, ...]
    title: str = ""
    check: Callable[[Mapping, dict[str, Any], str, Reader], None] | None = (
        None  # says what is wrong by `reader.wrong`
    )
    short: bool = False  # the value of the first key alone stands for the section
    defaults: dict[str, Any] = field(default_factory=dict)

    def default(self, key: Key) -> Any:
        """The value of a key that is left out, or REQUIRED."""
        if key.field in self.defaults:
            return self.defaults[key.field]
        for part in dataclasses.fields(self.make) if dataclasses.is_dataclass(self.make) else ():
            if part.name == key.field:
                if part.default is not dataclasses.MISSING:
                    return part.default
                if part.default_factory is not dataclasses.MISSING:
                    return part.default_factory()
        return REQUIRED

    def read(self, node: Node, path: str, reader: Reader) -> Any:
        values = self.read_values(node, path, reader)
        return BAD if any(value is BAD for value in values.values()) else self.make(**values)

    def read_values(self, node: Node, path: str, reader: Reader) -> dict[str, Any]:
        """Values by attribute, BAD where one is wrong; BAD under "" when the section itself is."""
        if self.short and isinstance(node, Scalar) and node.kind != "null":
            node = Mapping(((Scalar(self.keys[0].name, "str", node.line), node),), node.line)
        if not isinstance(node, Mapping):
            names = ", ".join(key.name for key in self.keys if not key.later)
            return {"": reader.wrong(node.line, path, _wrong_type(node, f"a section with {names}"))}
        values: dict[str, Any] = {}
        known = {key.name: key for key in self.keys}
        for name, item in node.entries:
            here = f"{path}.{name.text[:64]}" if path else name.text[:64]
            key = known.get(name.text)
            if key is None:
                values[""] = self._unknown(name, path, reader)
            elif key.kind is None:
                values[""] = reader.wrong(name.line, here, LATER)
            else:
                values[key.field] = key.kind.read(item, here, reader)
        excused = any(known[name.text].later for name, _ in node.entries if name.text in known)
        for key in self.keys:
            if key.kind is not None and key.field not in values:
                if self.default(key) is not REQUIRED:
                    values[key.field] = self.default(key)
                elif not excused:
                    values[""] = reader.wrong(
                        node.line, f"{path}.{key.name}" if path else key.name, "is missing"
                    )
        if self.check is not None:
            before = len(reader.problems)
            self.check(node, values, path, reader)
            if len(reader.problems) > before:
                values[""] = BAD
        return values

    def _unknown(self, name: Scalar, path: str, reader: Reader) -> _Mark:
        valid = [key.name for key in self.keys if not key.later]
        where = f"in {quote(path)}" if path else "at the top"
        homes = reader.homes.get(name.text, ())
        hint = f"; it belongs in {' or '.join(map(quote, homes))}" if homes else suggestion(name.text, valid)
        return reader.wrong(name.line, name.text, f"is no key {where}{hint}")

    def show(self, value: Any) -> Any:
        shown: dict[str, Any] = {}
        for key in self.keys:
            if key.kind is None:
                continue
            part = getattr(value, key.field)
            if part is None and self.default(key) is None and not isinstance(key.kind, Or):
                continue
            if (part_shown := key.kind.show(part)) is not OMIT:
                shown[key.name] = part_shown
        if self.short and all(
            getattr(value, key.field) == self.default(key) for key in self.keys[1:] if not key.later
        ):
            return shown[self.keys[0].name]
        return shown

    def describe(self) -> str:
        return f"section: see {self.title}" if self.title else "section"


def lines_of(node: Node) -> dict[str, int]:
    """The line of each key of a section."""
    return {key.text: key.line for key, _ in node.entries} if isinstance(node, Mapping) else {}


def names_of(node: Node, key: str) -> Iterable[str]:
    """The names under `key` of a section, whatever is wrong with their values."""
    if isinstance(node, Mapping):
        for name, item in node.entries:
            if name.text == key and isinstance(item, Mapping):
                yield from (entry.text for entry, _ in item.entries)
