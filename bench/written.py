"""The page from what was written beside it: `benchmarks.md` is made of the JSON files of its folder, and of page.md.

    python -m bench.written [FOLDER]        # default docs: after a change of bench/page.md

So a part that is measured alone (bench.scale, bench.micro, bench.memory) changes its own section and no other.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from bench import memory_page, micro_page, report, scale_page
from bench.figures import Figures
from bench.latency import Steady
from bench.peers import PEERS, ROOT
from bench.rows import chosen
from bench.runner import Gap, Sample, Settings
from bench.scale_page import Point

NOT_YET = "Not measured yet: `make bench-{}`."


def sections(folder: Path) -> dict[str, str]:
    """What page.md has beside the rows, by the names of its places."""
    scale, micro, memory = (
        _read(folder / name) for name in (scale_page.FILE, micro_page.FILE, memory_page.FILE)
    )
    return {
        "scale": scale_page.table([Point.of(p) for p in scale["points"]])
        if scale
        else NOT_YET.format("scale"),
        "scale_noise": report.quiet_or_not(*scale_page.shares([Point.of(p) for p in scale["points"]]))
        if scale
        else "",
        "scale_on": _on(scale),
        "micro": micro_page.table(micro["operations"]) if micro else NOT_YET.format("micro"),
        "micro_on": _on(micro),
        "memory": memory_page.table(memory["connections"]) if memory else NOT_YET.format("memory"),
        "memory_on": _on(memory),
    }


def again(folder: Path) -> None:
    """Writes the page of a folder that has the JSON of a run of rows; nothing elsewhere."""
    seen = _read(folder / "benchmarks.json")
    if seen is None:
        return
    rows = chosen([row["id"] for row in seen["rows"]])
    text = report.page(
        rows,
        Figures(Sample(**run) for run in seen["runs"]),
        [Gap(**gap) for gap in seen["gaps"]],
        Settings(seen["rounds"], seen["seconds"], tuple(p for p in PEERS if p.id in seen["peers"])),
        seen["machine"],
        seen["minutes"],
        [Steady(**run) for run in seen["latency"]],
        sections(folder),
    )
    (folder / "benchmarks.md").write_text(text)


def _on(seen: dict[str, Any] | None) -> str:
    if seen is None:
        return "another day"
    return f"{seen['machine']['date'].partition(' ')[0]}, revision {seen['machine']['revision']}"


def _read(path: Path) -> dict[str, Any] | None:
    try:
        read: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    return read


if __name__ == "__main__":
    again(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs")
