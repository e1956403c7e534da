"""The lines of Prometheus' text format: names, escapes, numbers, histograms.

Decides how a value is written. Must not know which values there are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

MAX_LABELS = 64  # label values of one family; the rest is summed under "other"
NOT_NAME = re.compile(r"[^a-zA-Z0-9_]")


def escape(text: str) -> str:
    text = text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
    return text[:128]


def number_of(value: Any) -> str | None:
    if isinstance(value, bool):
        return "1" if value else "0"
    return repr(value) if isinstance(value, (int, float)) else None


def head(name: str, kind: str, text: str) -> str:
    return f"# HELP {name} {text}\n# TYPE {name} {kind}\n"


def histogram(name: str, text: str, series: Iterable[tuple[str, Any]]) -> list[str]:
    """A family of histograms; each has labels (`a="b",c="d"`, or none) and a value as in the stats: `bounds` in ms,
    `counts` one for each and one for what is beyond, `sum_seconds`. A value of another shape is left out.
    """
    out: list[str] = []
    for labels, value in series:
        if not isinstance(value, Mapping):
            continue
        so_far = 0
        for bound, count in zip((*value["bounds"], None), value["counts"], strict=True):
            so_far += count
            le = "+Inf" if bound is None else repr(bound / 1000)
            out.append(f'{name}_bucket{{{labels}{"," if labels else ""}le="{le}"}} {so_far}\n')
        where = f"{{{labels}}}" if labels else ""
        out.append(f"{name}_sum{where} {value['sum_seconds']!r}\n{name}_count{where} {so_far}\n")
    return [head(name, "histogram", text), *out] if out else []
