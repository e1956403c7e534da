"""Figures to one SVG: a bar per row and server, relative to the best peer, with the range of its rounds."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from bench.figures import Figures
from bench.peers import Peer
from bench.rows import Row

COLOURS = {
    "limit": "#9aa0a6",
    "nginx": "#2f9e44",
    "haproxy": "#1c7ed6",
    "varnish": "#e8590c",
    "trafficserver": "#9c36b5",
    "cdn": "#c2255c",
}
LABEL, WIDTH, SPARE = 250, 620, 110  # columns: names of rows, bars, figures
BAR, GAP, TOP = 11, 12, 64
CEILING = 2.0  # longer bars are cut


def svg(rows: Sequence[Row], figures: Figures, peers: Sequence[Peer]) -> str:
    """The drawing; rows without any figure are left out."""
    parts: list[str] = []
    y = float(TOP)
    scale = WIDTH / CEILING
    for row in rows:
        present = [p for p in peers if figures.of(row, "bare", p.id)]
        best = figures.best(row, "bare", [p.id for p in peers])
        reference = figures.rate(row, "bare", best) if best else None
        if not reference:
            continue
        parts.append(_text(LABEL - 10, y + len(present) * BAR / 2 + 4, row.title, anchor="end"))
        for peer in present:
            rates = [s.per_second for s in figures.of(row, "bare", peer.id)]
            rate = figures.rate(row, "bare", peer.id) or 0.0
            long = min(rate / reference, CEILING) * scale
            low, high = (min(r / reference, CEILING) * scale for r in (min(rates), max(rates)))
            middle = y + (BAR - 2) / 2
            parts += [
                f'<rect x="{LABEL}" y="{y:.1f}" width="{long:.1f}" height="{BAR - 2}"'
                f' fill="{COLOURS[peer.id]}">'
                f"<title>{escape(peer.title)}: {rate:,.0f}/s</title></rect>",
                f'<path d="M{LABEL + low:.1f} {middle:.1f}H{LABEL + high:.1f}" stroke="#212529"/>',
                _text(LABEL + max(long, high) + 6, y + BAR - 3, f"{rate:,.0f}", size=9),
            ]
            y += BAR
        y += GAP
    height = y + 10
    lines = []
    for at in (0.5, 1.0, 1.5, 2.0):
        x, dashes = LABEL + at * scale, "" if at == 1 else ' stroke-dasharray="3 4"'
        lines.append(f'<path d="M{x:.1f} {TOP - 12}V{height - 16:.0f}" stroke="#adb5bd"{dashes}/>')
        lines.append(_text(x, TOP - 17, f"{at:g}", anchor="middle", size=10))
    legend = [
        f'<rect x="{LABEL + i * 110}" y="14" width="12" height="12" fill="{COLOURS[p.id]}"/>'
        + _text(LABEL + i * 110 + 18, 24, p.title)
        for i, p in enumerate(peers)
    ]
    total = LABEL + WIDTH + SPARE
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {total} {height:.0f}" width="{total}"'
        f' height="{height:.0f}" font-family="system-ui, sans-serif">\n'
        f'<rect width="100%" height="100%" fill="#ffffff"/>\n'
        + "\n".join(lines + parts + legend)
        + "\n</svg>\n"
    )


def _text(x: float, y: float, words: str, *, anchor: str = "start", size: int = 12) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="#212529">'
        f"{escape(words)}</text>"
    )
