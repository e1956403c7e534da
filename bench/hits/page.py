"""Results to Markdown and to one SVG. Decides what is shown; measures nothing."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from bench.hits.figures import AROUND, FRACTIONS, Result
from bench.hits.store import Replay

TEMPLATE = Path(__file__).with_name("page.md")
COLOURS = {"lru": "#868e96", "sieve": "#e8590c", "s3fifo": "#1c7ed6", "s3fifo-size": "#c2255c"}
REFERENCE = "#343a40"
HALF = 0.5  # points
WIDTH, HEIGHT, LEFT, TOP = 210, 130, 60, 60
GAP_X, GAP_Y = 60, 60


def document(results: Sequence[Result], reference: str, rounds: int) -> str:
    """The Markdown of one run."""
    return TEMPLATE.read_text().format(
        summary=summary(results),
        deviation=deviation(results, reference),
        tables=table(results),
        rounds=rounds,
    )


def table(results: Sequence[Result]) -> str:
    """Misses of every policy and reference, a table a trace."""
    return "\n\n".join(f"{_about(r)}\n\n{_table(r)}" for r in results)


def _about(result: Result) -> str:
    t = result.trace
    return (
        f"**{t.name}** ({t.about}): {len(t.requests):,} requests, {t.objects:,} objects, "
        f"{t.working_set / 1e6:,.0f} MB. One request for its largest object is {t.grain:.1f} points of bytes."
    )


def _table(result: Result) -> str:
    ends = " / ".join(f"{f:.0%}" for f in FRACTIONS)
    lines = [f"| | objects, {ends} | bytes, {ends} |", "|---|---|---|"]
    cells = [result.cells[f] for f in FRACTIONS]
    for name in cells[0].ours:
        lines.append(_line(f"`{name}`", [cell.ours[name] for cell in cells]))
    for name in cells[0].others:
        lines.append(_line(f"*{name}*", [cell.others[name] for cell in cells]))
    return "\n".join(lines)


def _line(name: str, replays: list[Replay]) -> str:
    objects = " / ".join(f"{r.objects:.1f}" for r in replays)
    share = " / ".join(f"{r.bytes:.1f}" for r in replays)
    return f"| {name} | {objects} | {share} |"


def summary(results: Sequence[Result]) -> str:
    """Each policy against LRU, the mean over all traces and sizes; and how near LRU is to the reference."""
    lines = [
        "| | misses of objects, to `lru` | misses of bytes, to `lru` | worst of each |",
        "|---|---|---|---|",
    ]
    cells = [cell for r in results for cell in r.cells.values()]
    for name in cells[0].ours:
        objects = [cell.ours[name].objects / cell.ours["lru"].objects - 1 for cell in cells]
        share = [cell.ours[name].bytes / cell.ours["lru"].bytes - 1 for cell in cells]
        n = len(cells)
        lines.append(
            f"| `{name}` | {sum(objects) / n:+.1%} | {sum(share) / n:+.1%} | {max(objects):+.1%}, {max(share):+.1%} |"
        )
    return "\n".join(lines)


def deviation(results: Sequence[Result], reference: str) -> str:
    """How far `lru` is from a reference, in points; and how much worse than that one with a little less room."""
    cells = [cell for r in results for cell in r.cells.values()]
    objects = max((c.ours["lru"].objects - c.others[reference].objects for c in cells), key=abs)
    share = [c.ours["lru"].bytes - c.others[reference].bytes for c in cells]
    near = sum(abs(difference) <= HALF for difference in share)
    worse = max(c.ours["lru"].bytes - max(r.bytes for r in (c.others[reference], *c.around)) for c in cells)
    return (
        f"`lru` is within {abs(objects):.2f} points of {reference} in objects. In bytes it differs by "
        f"{min(share):+.2f} to {max(share):+.2f} points, in {near} cells of {len(cells)} by no more than half a point; "
        f"it is {max(worse, 0.0):.2f} points worse at most than {reference} with {1 - AROUND:.0%} less room."
    )


def svg(results: Sequence[Result], reference: str) -> str:
    """Two panels a trace, objects and bytes: misses over capacity, a line a policy, the reference dashed."""
    parts = []
    for row, result in enumerate(results):
        for column, what in enumerate(("objects", "bytes")):
            x, y = LEFT + column * (WIDTH + GAP_X), TOP + row * (HEIGHT + GAP_Y)
            parts += _panel(result, what, reference, x, y)
    legend = [
        f'<rect x="{LEFT + i * 110}" y="12" width="12" height="12" fill="{colour}"/>'
        + _text(LEFT + i * 110 + 18, 22, name)
        for i, (name, colour) in enumerate(COLOURS.items())
    ]
    width = LEFT + 2 * (WIDTH + GAP_X)
    height = TOP + len(results) * (HEIGHT + GAP_Y)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}"'
        f' height="{height}" font-family="system-ui, sans-serif">\n'
        f'<rect width="100%" height="100%" fill="#ffffff"/>\n' + "\n".join(legend + parts) + "\n</svg>\n"
    )


def _panel(result: Result, what: str, reference: str, x: float, y: float) -> list[str]:
    cells = [result.cells[f] for f in FRACTIONS]
    curves = {name: [getattr(c.ours[name], what) for c in cells] for name in cells[0].ours}
    curves[reference] = [getattr(c.others[reference], what) for c in cells]
    most = max(max(curve) for curve in curves.values()) * 1.05
    out = [
        _text(x, y - 8, f"{result.trace.name}: misses of {what}, %"),
        f'<path d="M{x} {y}V{y + HEIGHT}H{x + WIDTH}" fill="none" stroke="#212529"/>',
        _text(x - 6, y + 6, f"{most:.0f}", anchor="end", size=10),
        _text(x - 6, y + HEIGHT, "0", anchor="end", size=10),
    ]
    steps = [x + WIDTH * (0.08 + 0.42 * i) for i in range(len(FRACTIONS))]
    for at, fraction in zip(steps, FRACTIONS, strict=True):
        out.append(_text(at, y + HEIGHT + 14, f"{fraction:.0%}", anchor="middle", size=10))
    for name, curve in curves.items():
        points = " ".join(
            f"{at:.1f},{y + HEIGHT * (1 - value / most):.1f}" for at, value in zip(steps, curve, strict=True)
        )
        dashes = ' stroke-dasharray="3 3"' if name == reference else ""
        colour = COLOURS.get(name, REFERENCE)
        out.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.6"{dashes}>'
            f"<title>{escape(name)}</title></polyline>"
        )
    return out


def _text(x: float, y: float, words: str, *, anchor: str = "start", size: int = 12) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="#212529">'
        f"{escape(words)}</text>"
    )
