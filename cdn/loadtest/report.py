"""A result as one HTML file with its plots drawn in it; fetches nothing, runs no script."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

from cdn.loadtest.result import Moment, Result
from cdn.loadtest.text import duration, summary

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 240, 70, 20, 16, 34
COLOURS = ("#c2255c", "#1c7ed6", "#2f9e44")
STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:760px;margin:2em auto;padding:0 1em;color:#212529;background:#fff}
pre{background:#f1f3f5;padding:1em;overflow-x:auto;font-size:13px} h1{font-size:1.4em;overflow-wrap:anywhere}
h2{font-size:1.1em;margin-top:1.6em} svg{max-width:100%;height:auto}
"""

Points = Sequence[tuple[float, float]]


def html(result: Result) -> str:
    parts = [f"<h1>{escape(result.url)}</h1>", f"<pre>{escape(summary(result))}</pre>"]
    points = [(-math.log10(1 - float(p) / 100), float(us)) for p, us in result.latency.percentiles.items()]
    if len(points) > 1:
        names = [f"p{p}" for p in result.latency.percentiles]
        marks = [(x, name) for (x, _), name in zip(points, names, strict=True)]
        parts += ["<h2>Latency by percentile</h2>", _plot([("latency", points)], duration, marks)]
    series = [m for m in result.series if m.seconds >= 0.2]
    if len(series) > 1:
        times = _times(series)
        rates = [(_middle(m), m.answered / m.seconds) for m in series]
        lost = [(_middle(m), m.errors / m.seconds) for m in series]
        drawn = [("answers a second", rates)] + (
            [("errors a second", lost)] if any(y for _, y in lost) else []
        )
        parts += ["<h2>Answers over time</h2>", _plot(drawn, lambda y: f"{y:,.0f}", times)]
        lines = [
            ("p50", [(_middle(m), float(m.p50_us)) for m in series]),
            ("p99", [(_middle(m), float(m.p99_us)) for m in series]),
        ]
        parts += ["<h2>Latency over time</h2>", _plot(lines, duration, times)]
    if result.outcomes:
        parts += ["<h2>Outcomes by Cache-Status</h2>", _bars(result.outcomes)]
    title = escape(f"cdn bench {result.url}")
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{title}</title>\n<style>{STYLE}</style>\n'
        + "\n".join(parts)
        + "\n</html>\n"
    )


def _middle(moment: Moment) -> float:
    return moment.at + moment.seconds / 2


def _times(series: Sequence[Moment]) -> list[tuple[float, str]]:
    end = series[-1].at + series[-1].seconds
    step = next((s for s in (1, 2, 5, 10, 30, 60, 300, 600, 3600) if end / s <= 12), 3600 * 4)
    return [(float(t), f"{t} s") for t in range(0, int(end) + 1, step)]


def _plot(
    lines: Sequence[tuple[str, Points]], label: Callable[[float], str], marks: list[tuple[float, str]]
) -> str:
    """Lines over a shared scale that begins at 0; `marks` are the places on the x axis that have a name."""
    xs = [x for _, points in lines for x, _ in points] + [x for x, _ in marks]
    low, high = min(xs), max(xs)
    top = max((y for _, points in lines for _, y in points), default=0) * 1.05 or 1.0

    def px(x: float) -> float:
        return LEFT + (x - low) / ((high - low) or 1) * (WIDTH - LEFT - RIGHT)

    def py(y: float) -> float:
        return HEIGHT - BOTTOM - y / top * (HEIGHT - TOP - BOTTOM)

    parts = []
    for i in range(5):
        y = top * i / 4
        parts.append(f'<path d="M{LEFT} {py(y):.1f}H{WIDTH - RIGHT}" stroke="#dee2e6"/>')
        parts.append(_text(LEFT - 8, py(y) + 4, label(y), "end"))
    parts += [_text(px(x), HEIGHT - BOTTOM + 18, name, "middle") for x, name in marks]
    for (name, points), colour in zip(lines, COLOURS, strict=False):
        path = "L".join(f"{px(x):.1f} {py(y):.1f}" for x, y in points)
        parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [
            f'<circle cx="{px(x):.1f}" cy="{py(y):.1f}" r="3" fill="{colour}">'
            f"<title>{escape(name)}: {escape(label(y))}</title></circle>"
            for x, y in points
        ]
    if len(lines) > 1:
        for i, (name, _) in enumerate(lines):
            parts.append(
                f'<rect x="{LEFT + 10 + i * 140}" y="4" width="10" height="10" fill="{COLOURS[i]}"/>'
            )
            parts.append(_text(LEFT + 26 + i * 140, 13, name, "start"))
    return _svg(HEIGHT, parts)


def _bars(counts: dict[str, int]) -> str:
    whole, parts = sum(counts.values()) or 1, []
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    for i, (name, count) in enumerate(ordered):
        y, long = 8 + i * 24, count / whole * (WIDTH - 330)
        parts.append(_text(180, y + 13, name, "end"))
        parts.append(f'<rect x="190" y="{y}" width="{long:.1f}" height="16" fill="{COLOURS[0]}"/>')
        parts.append(_text(198 + long, y + 13, f"{count:,} ({count / whole:.1%})", "start"))
    return _svg(16 + 24 * len(ordered), parts)


def _svg(height: int, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'font-family="system-ui, sans-serif">' + "".join(parts) + "</svg>"
    )


def _text(x: float, y: float, words: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="12" text-anchor="{anchor}" fill="#495057">{escape(words)}</text>'
