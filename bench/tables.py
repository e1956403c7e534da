"""Lines of cells to a Markdown table."""

from __future__ import annotations

from collections.abc import Sequence


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Padded, so that it also reads on a terminal."""
    width = [max(len(line[i]) for line in [head, *lines]) for i in range(len(head))]

    def pad(line: Sequence[str]) -> str:
        return "| " + " | ".join(cell.ljust(w) for cell, w in zip(line, width, strict=True)) + " |"

    rule = "|" + "|".join("-" * (w + 2) for w in width) + "|"
    return "\n".join([pad(head), rule, *map(pad, lines)])
