"""Counters of several workers as those of one node.

Decides what adds up, and what a worker leaves behind when it ends: its counters, so that no total ever falls, but not
what it had open. Knows names of counters only where they are no sums.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

# What says how things are now, and ends with the worker; a path that ends here takes in everything below it.
NOW: frozenset[tuple[str, ...]] = frozenset(
    {
        ("exchanges",),
        ("flights",),
        ("store",),
        ("connections", "open"),
        ("coding", "taken"),
        ("access_log", "waiting"),
        ("process", "rss"),
    }
)
# The same for figures of an origin, of a shield or of one of their servers, wherever they stand.
_SERVERS = frozenset({"origins", "shields"})
_NOW_OF_SERVERS = frozenset(
    {"average_ms", "backup", "busy", "idle", "queue_waiting", "state", "up", "weight"}
)
# Each worker judges a server for itself: the node's word is that of the worker to which it is worst.
_BY_TROUBLE = ("up", "draining", "checking", "returning", "ejected", "down")
_LARGEST = frozenset({"average_ms", "backup", "weight"})
_LEAST = frozenset({"up"})
# The same in every worker.
COMMON: frozenset[tuple[str, ...]] = frozenset({("store",)})
# But these, inside of what is the same, are each worker's own.
_OWN = frozenset({("store", "fills")})


def total(counters: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The sums, name by name. A text, and whatever is the same in all, is that of the first that has it."""
    out: dict[str, Any] = {}
    for one in counters:
        _add(out, one, (), False)
    return out


def _add(out: dict[str, Any], more: Mapping[str, Any], path: tuple[str, ...], common: bool) -> None:
    for name, value in more.items():
        here = (*path, str(name))
        same = (common or here in COMMON or name == "bounds") and here not in _OWN
        if isinstance(value, Mapping):
            below = out.setdefault(name, {})
            if isinstance(below, dict):
                _add(below, value, here, same)
        elif name not in out:
            out[name] = list(value) if isinstance(value, (list, tuple)) else value
        elif name == "state" and here[0] in _SERVERS and {value, out[name]} <= set(_BY_TROUBLE):
            out[name] = max(out[name], value, key=_BY_TROUBLE.index)
        elif same or isinstance(value, (str, bool)):
            continue
        elif isinstance(value, (int, float)) and isinstance(out[name], (int, float)):
            out[name] = _number_of(name if here[0] in _SERVERS else "", out[name], value)
        elif isinstance(value, (list, tuple)) and isinstance(out[name], list):
            out[name] = [a + b for a, b in zip(out[name], value, strict=True)]


def _number_of(name: str, one: float, other: float) -> float:
    if name in _LARGEST:
        return max(one, other)
    return min(one, other) if name in _LEAST else one + other


def left_behind(counters: Mapping[str, Any], path: tuple[str, ...] = ()) -> dict[str, Any]:
    """What still counts of a worker that has ended."""
    out: dict[str, Any] = {}
    for name, value in counters.items():
        here = (*path, str(name))
        if here in NOW or (path and path[0] in _SERVERS and name in _NOW_OF_SERVERS):
            continue
        out[name] = left_behind(value, here) if isinstance(value, Mapping) else value
    return out
