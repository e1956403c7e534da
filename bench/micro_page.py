"""The operations of bench.micro to a table; measures nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.tables import table as lines

FILE = "benchmarks-micro.json"


@dataclass(frozen=True, slots=True)
class Operation:
    """ns for one operation here and in Python; `way` is how Python does it, "" where there is no such way."""

    name: str
    of: str
    ns: float
    python_ns: float | None
    way: str


def table(operations: Sequence[dict[str, Any]]) -> str:
    """Markdown, in the order given."""
    return lines(
        ["operation", "of", "ns", "Python ns", "ratio", "the Python way"],
        [_line(Operation(**operation)) for operation in operations],
    )


def _line(it: Operation) -> list[str]:
    if it.python_ns is None:
        return [it.name, it.of, _ns(it.ns), "–", "", it.way]
    ratio = it.python_ns / it.ns
    return [
        it.name,
        it.of,
        _ns(it.ns),
        _ns(it.python_ns),
        f"{ratio:,.0f}" if ratio >= 10 else f"{ratio:.1f}",
        it.way,
    ]


def _ns(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
