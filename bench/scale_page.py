"""The points of bench.scale to a table and one SVG: the CPU time of a request against connections and objects.

Knows no processes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from statistics import median
from typing import Any

from bench.tables import table as lines

FILE = "benchmarks-scale.json"
COLOURS = {1: "#c2255c", 2: "#1c7ed6"}
AXES = {"connections": "connections, hits of 1 KiB", "objects": "stored objects of 64 B"}
PANEL, HEIGHT, LEFT, TOP, BOTTOM, BETWEEN = 380, 260, 60, 46, 44, 70


@dataclass(frozen=True, slots=True)
class Point:
    """One measured place. `samples` are those of runner.Sample as dicts; `why` there are none."""

    kind: str
    number: int
    workers: int
    title: str
    connections: int
    store_mib: int
    samples: tuple[dict[str, Any], ...]
    why: str

    @classmethod
    def of(cls, read: dict[str, Any]) -> Point:
        return cls(**{**read, "samples": tuple(read["samples"])})

    @property
    def key(self) -> tuple[int, str, int]:
        return self.workers, self.kind, self.number

    def middle(self, name: str) -> float:
        """The median of the rounds."""
        return median(sample[name] for sample in self.samples)


def table(points: Sequence[Point]) -> str:
    """Markdown: a line for each point."""
    shown = []
    for point in sorted(points, key=lambda p: (p.kind, p.number, p.workers)):
        if not point.samples:
            shown.append([point.title, f"{point.workers}", point.why, "", "", "", ""])
            continue
        us = [sample["server_us"] for sample in point.samples]
        shown.append(
            [
                point.title,
                f"{point.workers}",
                f"{point.middle('server_us'):.2f} ({min(us):.2f}–{max(us):.2f})",
                f"{point.middle('per_second'):,.0f}",
                f"{point.middle('server_share'):.0%}",
                f"{point.middle('p50_us'):,.0f}",
                f"{point.middle('p99_us'):,.0f}",
            ]
        )
    return lines(["", "workers", "CPU µs a request", "per second", "of a core", "p50 µs", "p99 µs"], shown)


def shares(points: Sequence[Point]) -> tuple[list[float], list[float]]:
    """What other processes took in each run, in cores, and how far the rounds of each point differ; both ascending."""
    foreign = sorted(sample["foreign_share"] for point in points for sample in point.samples)
    spreads = []
    for point in points:
        us = [sample["server_us"] for sample in point.samples]
        if len(us) > 1:
            spreads.append((max(us) - min(us)) / median(us))
    return foreign, sorted(spreads)


def svg(points: Sequence[Point]) -> str:
    """A panel for connections, one for objects; x logarithmic, y from 0."""
    measured = [point for point in points if point.samples]
    top = max((point.middle("server_us") for point in measured), default=1.0) * 1.15
    parts: list[str] = []
    for i, workers in enumerate(COLOURS):
        x = LEFT + i * 110
        parts.append(f'<rect x="{x}" y="10" width="12" height="12" fill="{COLOURS[workers]}"/>')
        parts.append(_text(x + 18, 20, f"{workers} worker{'s' if workers > 1 else ''}"))
    for at, kind in enumerate(AXES):
        parts += _panel(kind, [p for p in measured if p.kind == kind], LEFT + at * (PANEL + BETWEEN), top)
    width = LEFT + 2 * PANEL + BETWEEN + 30
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT}" width="{width}"'
        f' height="{HEIGHT}" font-family="system-ui, sans-serif">\n'
        f'<rect width="100%" height="100%" fill="#ffffff"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _panel(kind: str, points: Sequence[Point], left: float, top: float) -> list[str]:
    bottom = HEIGHT - BOTTOM
    parts = [_text(left + PANEL / 2, HEIGHT - 8, AXES[kind], "middle")]
    for us in range(0, int(top) + 1, max(1, round(top / 6))):
        y = bottom - us / top * (bottom - TOP)
        parts.append(f'<path d="M{left} {y:.1f}h{PANEL}" stroke="#dee2e6"/>')
        parts.append(_text(left - 8, y + 4, f"{us} µs", "end", 10))
    numbers = sorted({point.number for point in points})
    if not numbers:
        return parts
    low, high = math.log(numbers[0]), math.log(numbers[-1])

    def px(number: int) -> float:
        return left + 14 + (math.log(number) - low) / ((high - low) or 1.0) * (PANEL - 28)

    parts += [_text(px(n), bottom + 16, f"{n:,}", "middle", 10) for n in numbers]
    for workers, colour in COLOURS.items():
        own = sorted((p for p in points if p.workers == workers), key=lambda p: p.number)
        places = [(px(p.number), bottom - p.middle("server_us") / top * (bottom - TOP)) for p in own]
        if places:
            path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
            parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for (x, y), point in zip(places, own, strict=True):
            told = f"{point.title}, {workers}: {point.middle('server_us'):.2f} µs"
            parts.append(
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"><title>{escape(told)}</title></circle>'
            )
    return parts


def _text(x: float, y: float, words: str, anchor: str = "start", size: int = 12) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="#212529">'
        f"{escape(words)}</text>"
    )
