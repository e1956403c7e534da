"""What is wrong with a configuration, said in one line each: file, line, what, and the way out.

Knows nothing of YAML or of any key.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

_SHOWN = 80  # characters of a value; a longer one is cut


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake. `line` counts from 1; 0 stands for the file as a whole (it cannot be read)."""

    file: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}" if self.line else f"{self.file}: {self.message}"


class ConfigError(Exception):
    """A configuration with mistakes: all of them, in the order of their lines."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda problem: problem.line))
        super().__init__("\n".join(map(str, self.problems)))


class BadValueError(ValueError):
    """A value that does not fit; the message completes a sentence that begins with the key's name."""


def quote(text: str, most: int = _SHOWN) -> str:
    """`text` between backticks: on one line, without control characters, cut when it is long."""
    if not text:
        return '`""`'
    cut = text if len(text) <= most else text[:most] + "…"
    return "`" + "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut) + "`"


def nearest(word: str, valid: Iterable[str], likeness: float = 0.6) -> str | None:
    """The valid name that `word` was probably meant to be, if one is near."""
    names = {name.lower(): name for name in valid}
    found = difflib.get_close_matches(word[:_SHOWN].lower(), names, n=1, cutoff=likeness)
    return names[found[0]] if found else None


def suggestion(word: str, valid: Iterable[str]) -> str:
    """The end of a sentence: `; did you mean …?` where a name is near, else the names there are."""
    names = list(valid)
    near = nearest(word, names)
    if near is not None:
        return f"; did you mean {quote(near)}?"
    return f"; there is {' | '.join(names)}" if names else ""
