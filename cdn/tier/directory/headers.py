"""The `_headers` file of a folder: fields that answers for its files get, by path.

    /assets/*
      Cache-Control: public, max-age=31536000, immutable
    /blog/:year/*
      X-Robots-Tag: noarchive

A line that begins with `/` starts a section, indented lines are its fields, `#` begins a comment. `*` matches
any run of characters, `:name` one segment. Every section that matches applies, in order; where two give the same
field, the later one's value is added as a line of its own, but `Cache-Control` and `Content-Type` are replaced.
Decides what a line means and which are wrong. Must not know files or how an answer is made.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

HEADERS_FILE_NAME = "_headers"
LARGEST = 256 << 10  # bytes of the file
SINGLE = frozenset({"cache-control", "content-type", "content-disposition", "location"})
# About framing, the connection or what only the file itself can say.
REFUSED = frozenset(
    {
        "accept-ranges",
        "age",
        "connection",
        "content-encoding",
        "content-length",
        "content-range",
        "date",
        "etag",
        "keep-alive",
        "last-modified",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(r"[\x20-\x7e\x80-\uffff\t]*")
_TOKEN = re.compile(r"\*|:[A-Za-z_]\w*|[^*:]+|:")


@dataclass(frozen=True, slots=True)
class Section:
    pattern: re.Pattern[str]
    fields: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class HeadersFile:
    """`problems` are sentences about lines that were left out."""

    sections: tuple[Section, ...] = ()
    problems: tuple[str, ...] = ()

    def fields(self, path: str) -> list[tuple[str, str]]:
        """The fields for a path in its normal form."""
        found: list[tuple[str, str]] = []
        for section in self.sections:
            if section.pattern.fullmatch(path) is None:
                continue
            for name, value in section.fields:
                if name.lower() in SINGLE:
                    found = [line for line in found if line[0].lower() != name.lower()]
                found.append((name, value))
        return found


def parse(text: str) -> HeadersFile:
    sections: list[Section] = []
    problems: list[str] = []
    pattern: re.Pattern[str] | None = None
    fields: list[tuple[str, str]] = []

    def end() -> None:
        if pattern is not None and fields:
            sections.append(Section(pattern, tuple(fields)))

    for number, line in enumerate(text.splitlines(), 1):
        bare = line.strip()
        if not bare or bare.startswith("#"):
            continue
        if line[0] not in " \t":
            end()
            pattern, fields = None, []
            if not bare.startswith("/"):
                problems.append(f"line {number}: a section begins with a path such as /assets/*")
                continue
            pattern = _compile(bare)
            continue
        name, colon, value = bare.partition(":")
        name, value = name.strip(), value.strip()
        if not colon or not _NAME.fullmatch(name):
            problems.append(f"line {number}: a field is written as `Name: value`")
        elif name.lower() in REFUSED:
            problems.append(f"line {number}: {name} is not for a file to set")
        elif not _VALUE.fullmatch(value) or not _sendable(value):
            problems.append(f"line {number}: the value of {name} holds characters that no field may hold")
        elif pattern is None:
            problems.append(f"line {number}: {name} stands in no section")
        else:
            fields.append((name, value))
    end()
    return HeadersFile(tuple(sections), tuple(problems))


def _sendable(value: str) -> bool:
    try:
        value.encode("latin-1")
    except UnicodeEncodeError:
        return False
    return True


def _compile(pattern: str) -> re.Pattern[str]:
    pieces = []
    for token in _TOKEN.findall(pattern):
        if token == "*":
            pieces.append(".*")
        elif token.startswith(":") and len(token) > 1:
            pieces.append("[^/]+")
        else:
            pieces.append(re.escape(token))
    return re.compile("".join(pieces), re.DOTALL)
