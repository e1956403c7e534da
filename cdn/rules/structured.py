"""A strict parser for structured-field dictionaries and lists (RFC 9651 §4.2): the types that `rules` needs.

Any fault makes the whole field void, as the RFC demands; the parser never repairs. Numbers are int or
`Decimal`, strings and tokens are told apart, byte sequences are bytes, dates are `Date`, display strings are
`DisplayString`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeAlias

_DIGITS = frozenset("0123456789")
_KEY_FIRST = frozenset("abcdefghijklmnopqrstuvwxyz*")
_KEY_REST = _KEY_FIRST | _DIGITS | frozenset("_-.")
_TOKEN_FIRST = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ*")
_TOKEN_REST = _TOKEN_FIRST | _DIGITS | frozenset("!#$%&'+-.^_`|~:/")
_HEX = frozenset("0123456789abcdef")
_BASE64 = _TOKEN_FIRST - {"*"} | _DIGITS | frozenset("+/=")


class MalformedError(ValueError):
    """The field is not what the RFC allows; it counts as absent."""


class Token(str):
    """A token; equal to its text, but not the same type as a string."""

    __slots__ = ()


class DisplayString(str):
    """Unicode text (RFC 9651 §3.3.8)."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Date:
    """Seconds since the epoch (RFC 9651 §3.3.7)."""

    seconds: int


Bare: TypeAlias = int | Decimal | str | Token | bytes | bool | Date | DisplayString


@dataclass(frozen=True, slots=True)
class Item:
    value: Bare
    params: Mapping[str, Bare]


@dataclass(frozen=True, slots=True)
class InnerList:
    items: tuple[Item, ...]
    params: Mapping[str, Bare]


Member: TypeAlias = Item | InnerList


def parse_dictionary(text: str) -> dict[str, Member]:
    """All lines of the field joined by ", "; an empty field is empty. Raises `MalformedError`."""
    reader = _Reader(text)
    out: dict[str, Member] = {}
    reader.spaces()
    while not reader.done():
        key = reader.key()
        member: Member = reader.member() if reader.take("=") else Item(True, reader.params())
        out.pop(key, None)  # the last one wins, and takes the last place
        out[key] = member
        if not reader.next_member():
            break
    return out


def parse_list(text: str) -> list[Member]:
    """As `parse_dictionary`, for lists."""
    reader = _Reader(text)
    out: list[Member] = []
    reader.spaces()
    while not reader.done():
        out.append(reader.member())
        if not reader.next_member():
            break
    return out


def parse_item(text: str) -> Item:
    reader = _Reader(text)
    reader.spaces()
    item = reader.item()
    reader.spaces()
    if not reader.done():
        raise MalformedError("text behind the item")
    return item


class _Reader:
    __slots__ = ("_at", "_text")

    def __init__(self, text: str) -> None:
        if not text.isascii():
            raise MalformedError("not ASCII")
        self._text = text
        self._at = 0

    def done(self) -> bool:
        return self._at >= len(self._text)

    def _peek(self) -> str:
        return self._text[self._at] if self._at < len(self._text) else ""

    def take(self, char: str) -> bool:
        if self._peek() == char:
            self._at += 1
            return True
        return False

    def spaces(self) -> None:
        while self.take(" "):
            pass

    def _white(self) -> None:
        while self._peek() in (" ", "\t") and not self.done():
            self._at += 1

    def _run(self, allowed: frozenset[str]) -> str:
        start = self._at
        text = self._text
        at = start
        while at < len(text) and text[at] in allowed:
            at += 1
        self._at = at
        return text[start:at]

    def next_member(self) -> bool:
        """Step over the comma to the next member; False at the end of the field."""
        self._white()
        if self.done():
            return False
        if not self.take(","):
            raise MalformedError("expected a comma")
        self._white()
        if self.done():
            raise MalformedError("a comma at the end")
        return True

    def key(self) -> str:
        if self._peek() not in _KEY_FIRST:
            raise MalformedError("not a key")
        return self._run(_KEY_REST)

    def member(self) -> Member:
        return self._inner_list() if self._peek() == "(" else self.item()

    def _inner_list(self) -> InnerList:
        self.take("(")
        items: list[Item] = []
        while True:
            self.spaces()
            if self.take(")"):
                return InnerList(tuple(items), self.params())
            if self.done():
                raise MalformedError("an inner list that does not end")
            items.append(self.item())
            if self._peek() not in (" ", ")"):
                raise MalformedError("items need a space between them")

    def item(self) -> Item:
        return Item(self._bare(), self.params())

    def params(self) -> dict[str, Bare]:
        out: dict[str, Bare] = {}
        while self.take(";"):
            self.spaces()
            key = self.key()
            value: Bare = self._bare() if self.take("=") else True
            out.pop(key, None)
            out[key] = value
        return out

    def _bare(self) -> Bare:
        char = self._peek()
        if char == "-" or char in _DIGITS:
            return self._number()
        if char == '"':
            return self._string()
        if char == "?":
            return self._boolean()
        if char == ":":
            return self._bytes()
        if char == "@":
            return self._date()
        if char == "%":
            return self._display()
        if char in _TOKEN_FIRST:
            return Token(self._run(_TOKEN_REST))
        raise MalformedError("not an item")

    def _number(self) -> int | Decimal:
        sign = "-" if self.take("-") else ""
        whole = self._run(_DIGITS)
        if not whole:
            raise MalformedError("a number without digits")
        if not self.take("."):
            if len(whole) > 15:
                raise MalformedError("an integer of more than 15 digits")
            return int(sign + whole)
        fraction = self._run(_DIGITS)
        if len(whole) > 12 or not 1 <= len(fraction) <= 3:
            raise MalformedError("a decimal out of bounds")
        return Decimal(f"{sign}{whole}.{fraction}")

    def _string(self) -> str:
        self.take('"')
        out: list[str] = []
        while not self.done():
            char = self._text[self._at]
            self._at += 1
            if char == '"':
                return "".join(out)
            if char == "\\":
                char = self._peek()
                if char not in ('"', "\\") or not char:
                    raise MalformedError("a bad escape")
                self._at += 1
            elif not " " <= char <= "~":
                raise MalformedError("a control in a string")
            out.append(char)
        raise MalformedError("a string that does not end")

    def _boolean(self) -> bool:
        self.take("?")
        if self.take("1"):
            return True
        if self.take("0"):
            return False
        raise MalformedError("not a boolean")

    def _bytes(self) -> bytes:
        self.take(":")
        text = self._run(_BASE64)
        if not self.take(":"):
            raise MalformedError("a byte sequence that does not end")
        try:
            return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
        except binascii.Error:
            raise MalformedError("not base64") from None

    def _date(self) -> Date:
        self.take("@")
        seconds = self._number()
        if not isinstance(seconds, int):
            raise MalformedError("a date with a fraction")
        return Date(seconds)

    def _display(self) -> DisplayString:
        self.take("%")
        if not self.take('"'):
            raise MalformedError("not a display string")
        out = bytearray()
        while not self.done():
            char = self._text[self._at]
            self._at += 1
            if char == '"':
                try:
                    return DisplayString(out.decode("utf-8"))
                except UnicodeDecodeError:
                    raise MalformedError("not UTF-8") from None
            if char == "%":
                digits = self._text[self._at : self._at + 2]
                if len(digits) != 2 or not _HEX.issuperset(digits):
                    raise MalformedError("a bad escape")
                out.append(int(digits, 16))
                self._at += 2
            elif " " <= char <= "~":
                out.append(ord(char))
            else:
                raise MalformedError("a control in a string")
        raise MalformedError("a display string that does not end")


def serialise_string(text: str) -> str:
    """An sf-string; what the type cannot carry becomes "?"."""
    safe = "".join(char if " " <= char <= "~" else "?" for char in text)
    return '"' + safe.replace("\\", "\\\\").replace('"', '\\"') + '"'


def is_sf_token(text: str) -> bool:
    return bool(text) and text[0] in _TOKEN_FIRST and _TOKEN_REST.issuperset(text)
