"""A result as one HTML file with its plots drawn in it; fetches nothing, runs no script.

Light or dark as the reader's system is, down to the width of a phone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

from cdn.loadtest.result import Moment, Result
from cdn.loadtest.text import duration, summary

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 248, 96, 40, 36, 34
SERIES = 3  # colours that there are
MOST_DOTS = 80  # of a line; with more of them it is a line alone
STYLE = """
:root{color-scheme:light dark;--ink:#212529;--soft:#495057;--rule:#dee2e6;--paper:#fff;--box:#f1f3f5;
--s0:#c2255c;--s1:#1c7ed6;--s2:#2f9e44}
@media(prefers-color-scheme:dark){:root{--ink:#e9ecef;--soft:#adb5bd;--rule:#373b40;--paper:#15171a;--box:#212429;
--s0:#f06595;--s1:#4dabf7;--s2:#69db7c}}
body{font:15px/1.5 system-ui,sans-serif;max-width:760px;margin:2em auto;padding:0 1em;color:var(--ink);
background:var(--paper)}
h1{font-size:1.4em;overflow-wrap:anywhere;margin-bottom:.2em} h2{font-size:1.1em;margin-top:1.6em}
.how{color:var(--soft);margin:0 0 1em;overflow-wrap:anywhere}
dl{display:grid;grid-template-columns:repeat(auto-fit,minmax(96px,1fr));gap:10px;margin:0 0 1em}
dl div{background:var(--box);border-radius:6px;padding:8px 12px} dt{color:var(--soft);font-size:13px}
dd{margin:0;font-size:1.2em;font-weight:600}
pre{background:var(--box);border-radius:6px;padding:1em;font-size:13px;white-space:pre-wrap;overflow-wrap:anywhere}
svg{width:100%;height:auto;font-family:system-ui,sans-serif} text{font-size:12px;fill:var(--soft)}
.rule{stroke:var(--rule)} .s0{stroke:var(--s0);fill:var(--s0)} .s1{stroke:var(--s1);fill:var(--s1)}
.s2{stroke:var(--s2);fill:var(--s2)} .line{fill:none;stroke-width:2}
@media(max-width:560px){text{font-size:20px} .line{stroke-width:3} dd{font-size:1.15em}}
"""

Points = Sequence[tuple[float, float]]


def html(result: Result, ended: str) -> str:
    """The page; `ended` says when that was."""
    parts = [
        f"<h1>{escape(result.url)}</h1>",
        f'<p class="how">{escape(_how(result))}<br>{escape(ended)}</p>',
        _figures(result),
    ]
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
        parts += ["<h2>Answers a second over time</h2>", _plot(drawn, lambda y: f"{y:,.0f}", times)]
        lines = [
            ("p50", [(_middle(m), float(m.p50_us)) for m in series]),
            ("p99", [(_middle(m), float(m.p99_us)) for m in series]),
        ]
        parts += ["<h2>Latency over time</h2>", _plot(lines, duration, times)]
    if result.outcomes:
        parts += ["<h2>Outcomes by Cache-Status</h2>", _bars(result.outcomes)]
    if result.errors:
        parts += ["<h2>Errors</h2>", _bars(result.errors)]
    parts += ["<h2>All figures</h2>", f"<pre>{escape(summary(result))}</pre>"]
    title = escape(f"cdn bench {result.url}")
    return (
        '<!doctype html>\n<html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n" + "\n".join(parts) + "\n</html>\n"
    )


def _how(r: Result) -> str:
    by = "our own generator" if r.generator == "own" else r.generator
    how = f"{r.mode}, {r.connections:,} connections for {r.seconds:.1f} s"
    return f"{how}, {r.protocol}, {r.profile}; by {by}"


def _figures(r: Result) -> str:
    """What one looks for first."""
    told = {"a second": f"{r.per_second:,.0f}"}
    for p in ("50", "99", "99.9"):
        if p in r.latency.percentiles:
            told[f"p{p}"] = duration(r.latency.percentiles[p])
    if r.hit_ratio is not None:
        told["hit ratio"] = f"{r.hit_ratio:.2%}"
    told["errors"] = f"{sum(r.errors.values()):,}"
    cells = (f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in told.items())
    return f"<dl>{''.join(cells)}</dl>"


def _middle(moment: Moment) -> float:
    return moment.at + moment.seconds / 2


def _times(series: Sequence[Moment]) -> list[tuple[float, str]]:
    end = series[-1].at + series[-1].seconds
    step = next((s for s in (1, 2, 5, 10, 30, 60, 300, 600, 3600) if end / s <= 10), 3600 * 4)
    return [(float(t), f"{t} s") for t in range(0, int(end) + 1, step)]


def _step(top: float) -> float:
    """Between lines of a scale: 1, 2 or 5 of a power of ten, at most five of them."""
    unit = 10.0 ** math.floor(math.log10(top / 5))
    return next(unit * n for n in (1, 2, 5, 10) if top / (unit * n) <= 5)


def _plot(
    lines: Sequence[tuple[str, Points]], label: Callable[[float], str], marks: list[tuple[float, str]]
) -> str:
    """Lines over a shared scale that begins at 0; `marks` are the places on the x axis that have a name."""
    xs = [x for _, points in lines for x, _ in points] + [x for x, _ in marks]
    low, high = min(xs), max(xs)
    most = max((y for _, points in lines for _, y in points), default=0) or 1.0
    step = _step(most)
    top = math.ceil(most / step) * step

    def px(x: float) -> float:
        return LEFT + (x - low) / ((high - low) or 1) * (WIDTH - LEFT - RIGHT)

    def py(y: float) -> float:
        return HEIGHT - BOTTOM - y / top * (HEIGHT - TOP - BOTTOM)

    parts = []
    for i in range(round(top / step) + 1):
        y = step * i
        parts.append(f'<path class="rule" d="M{LEFT} {py(y):.1f}H{WIDTH - RIGHT}"/>')
        parts.append(_text(LEFT - 8, py(y) + 4, label(y) if y else "0", "end"))
    parts += [_text(px(x), HEIGHT - BOTTOM + 24, name, "middle") for x, name in marks]
    for i, (name, points) in enumerate(lines[:SERIES]):
        path = "L".join(f"{px(x):.1f} {py(y):.1f}" for x, y in points)
        parts.append(f'<path class="s{i} line" d="M{path}"/>')
        if len(points) <= MOST_DOTS:
            parts += [
                f'<circle class="s{i}" cx="{px(x):.1f}" cy="{py(y):.1f}" r="3">'
                f"<title>{escape(name)}: {escape(label(y))}</title></circle>"
                for x, y in points
            ]
    if len(lines) > 1:
        for i, (name, _) in enumerate(lines[:SERIES]):
            x = LEFT + 10 + i * 200
            parts.append(f'<rect class="s{i}" x="{x}" y="9" width="11" height="11"/>')
            parts.append(_text(x + 18, 20, name, "start"))
    return _svg(HEIGHT, parts)


def _bars(counts: dict[str, int]) -> str:
    whole, parts = sum(counts.values()) or 1, []
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    for i, (name, count) in enumerate(ordered):
        # the name has a line of its own: some are long, and a phone shows them larger
        y, long = 8 + i * 48, count / whole * (WIDTH - 240)
        parts.append(_text(0, y + 14, name, "start"))
        parts.append(f'<rect class="s0" x="0" y="{y + 20}" width="{max(long, 1):.1f}" height="16"/>')
        parts.append(_text(12 + long, y + 34, f"{count:,} ({_share(count, whole)})", "start"))
    return _svg(16 + 48 * len(ordered), parts)


def _share(count: int, whole: int) -> str:
    share = f"{count / whole:.1%}"
    return "< 0.1%" if count and share == "0.0%" else share


def _svg(height: int, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}">' + "".join(parts) + "</svg>"
    )


def _text(x: float, y: float, words: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'
