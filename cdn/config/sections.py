"""Values made of others: lists, free names with values, sections with known keys.

A section is a table of keys; the same table reads it, shows it and describes it. Nothing here knows a
particular key.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from cdn.config.document import Mapping, Node, Scalar, Sequence
from cdn.config.kinds import BAD, LATER, OMIT, REQUIRED, Kind, Mark, Or, Reader, Text, wrong_type
from cdn.config.problems import nearest, quote, suggestion


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
            return reader.wrong(node.line, path, wrong_type(node, f"a list such as {self.example}"))
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
        return f"list, each {self.kind.describe()}"


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
            return reader.wrong(node.line, path, wrong_type(node, f"a section of {self.name.what}: value"))
        if not node.entries and self.empty is not None:
            return reader.wrong(node.line, path, f"is empty; {self.empty}")
        pairs: dict[Any, tuple[Any, Any]] = {}
        good = True
        for key, item in node.entries:
            here = f"{path}.{key.text[:64]}"
            name = self.name.read(Scalar(key.text, "str", key.line), here, reader)
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
        return f"section, each {self.name.what}: {self.kind.describe()}"


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
        alone = self.short and isinstance(node, Scalar) and node.kind != "null"
        if alone:
            node = Mapping(((Scalar(self.keys[0].name, "str", node.line), node),), node.line)
        if not isinstance(node, Mapping):
            names = ", ".join(key.name for key in self.keys[:4] if not key.later)
            names += ", …" if len(self.keys) > 4 else ""
            return {"": reader.wrong(node.line, path, wrong_type(node, f"a section with {names}"))}
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
                values[key.field] = key.kind.read(item, path if alone else here, reader)
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

    def _unknown(self, name: Scalar, path: str, reader: Reader) -> Mark:
        valid = [key.name for key in self.keys if not key.later]
        where = f"in {quote(path)}" if path else "at the top"
        homes = reader.homes.get(name.text, ())
        if homes and nearest(name.text, valid, 0.7) is None:
            hint = f"; it belongs {' or '.join(homes)}"
        else:
            hint = suggestion(name.text, valid)
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
        short = f"{self.keys[0].kind.describe()}, or " if self.short and self.keys[0].kind else ""
        return f"{short}a section `{self.title}`"


def lines_of(node: Node) -> dict[str, int]:
    """The line of each key of a section."""
    return {key.text: key.line for key, _ in node.entries} if isinstance(node, Mapping) else {}


def names_of(node: Node, key: str) -> Iterable[str]:
    """The names under `key` of a section, whatever is wrong with their values."""
    if isinstance(node, Mapping):
        for name, item in node.entries:
            if name.text == key and isinstance(item, Mapping):
                yield from (entry.text for entry, _ in item.entries)
