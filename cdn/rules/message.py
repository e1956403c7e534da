"""HTTP messages as values, the vocabulary of `rules`: fields, request, response.

Field names and values are str, decoded as ISO-8859-1 so that every byte survives the round trip. Nothing here
knows a socket, a clock or how a message was framed: a body has already been cut by whoever made the message.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


class Fields:
    """An immutable list of (name, value) in wire order, duplicates kept; look-ups ignore the names' case."""

    __slots__ = ("_index", "_lines")

    def __init__(self, lines: Iterable[tuple[str, str]] = ()) -> None:
        self._lines = tuple(lines)
        self._index: dict[str, list[str]] | None = None

    def _by_name(self) -> dict[str, list[str]]:
        index = self._index
        if index is None:
            index = {}
            for name, value in self._lines:
                index.setdefault(name.lower(), []).append(value)
            self._index = index
        return index

    def all(self, name: str) -> list[str]:
        """Every line's value of `name` (given in lower case)."""
        return self._by_name().get(name, [])

    def get(self, name: str) -> str | None:
        """All lines of `name` as one list value, joined by ", " (RFC 9110 §5.3); None when absent."""
        lines = self._by_name().get(name)
        return None if lines is None else ", ".join(lines)

    def __contains__(self, name: str) -> bool:
        return name in self._by_name()

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._lines)

    def __len__(self) -> int:
        return len(self._lines)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Fields) and self._lines == other._lines

    def __hash__(self) -> int:
        return hash(self._lines)

    def __repr__(self) -> str:
        return f"Fields({list(self._lines)!r})"

    def without(self, names: Iterable[str]) -> Fields:
        """These fields less every line whose name (lower case) is in `names`."""
        drop = frozenset(names)
        return Fields(line for line in self._lines if line[0].lower() not in drop)

    def plus(self, lines: Iterable[tuple[str, str]]) -> Fields:
        return Fields((*self._lines, *lines))


@dataclass(frozen=True, slots=True)
class RequestHead:
    """A request as received from a client, its target already in normal form.

    `authority` is the normalised host[:port] (default port removed), `path` the normal form of the path,
    `query` the raw text behind `?` or None when there is none. `version` is (1, 0) or (1, 1).
    """

    method: str
    scheme: str
    authority: str
    path: str
    query: str | None
    fields: Fields
    version: tuple[int, int] = (1, 1)

    @property
    def target(self) -> str:
        return self.path if self.query is None else f"{self.path}?{self.query}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}"


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """A final response's status line and fields, hop-by-hop fields still in it as received."""

    status: int
    fields: Fields
    reason: str = ""
    version: tuple[int, int] = (1, 1)
