"""Figures to pages: `benchmarks.md`, `benchmarks.json` and the table on the terminal.

The page (its words are in `page.md`) says what was measured, on what and how noisy that was; it makes no
claim that the figures do not carry.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median

from bench import latency
from bench.figures import Figures, Ratio
from bench.latency import Steady
from bench.pace import ALIKE
from bench.peers import LIMIT, OURS, PEERS, Peer
from bench.rows import BROWSER, BROWSER_BAR, Head, Row
from bench.runner import Gap, Sample, Settings
from bench.tables import table

BUSY = 0.9  # below this share of its core a server was not what limited a row
QUIET = 0.05  # cores that others may take of a quiet machine

PAGE = Path(__file__).with_name("page.md")


def page(
    rows: Sequence[Row],
    figures: Figures,
    gaps: Sequence[Gap],
    settings: Settings,
    machine: dict[str, str],
    minutes: float,
    steady: Sequence[Steady],
    others: Mapping[str, str],
) -> str:
    """The Markdown of one run. `others`: the sections that are measured alone, by their places in page.md."""
    peers = settings.peers
    return PAGE.read_text().format(
        noise=noise(figures),
        rounds=settings.rounds,
        seconds=settings.seconds,
        rates=rate_table(rows, figures, peers),
        ratios=ratio_table(rows, figures, peers),
        fields=len(BROWSER),
        browser=browser_table([row for row in rows if "browser" in row.heads], figures, peers),
        browser_bar=BROWSER_BAR,
        latency=latency_table(steady),
        latency_rounds=len({run.round for run in steady}),
        busy=BUSY,
        cpu=cpu_table(rows, figures, peers),
        gaps=gap_list(rows, gaps, peers),
        machine="\n".join(f"- {name}: {value}" for name, value in machine.items()),
        minutes=f"{minutes:.0f}",
        **others,
    )


def noise(figures: Figures) -> str:
    """How far the machine was ours, in words."""
    words, paces = quiet_or_not(figures.foreign_shares(), figures.spreads()), figures.paces()
    if not paces:
        return words
    tenth = len(paces) // 10
    return (
        f"{words} The machine itself took between {paces[tenth]:.1f} and {paces[-1 - tenth]:.1f} µs (the outer tenths "
        "left out) for one and the same copy through a socket; two servers are compared only in rounds in which it "
        f"was as fast for both (within {ALIKE - 1:.0%})."
    )


def quiet_or_not(foreign: Sequence[float], spreads: Sequence[float]) -> str:
    """The same of what others took in each run (cores) and how far the rounds of each cell differ; both ascending."""
    if not foreign:
        return "**No run counted.**"
    taken = f"other processes took {median(foreign):.2f} cores at the median run, {foreign[-1]:.2f} at most"
    spread = f"; the rounds of a cell differ by {median(spreads):.0%} at the median" if spreads else ""
    if median(foreign) <= QUIET:
        return f"The machine was quiet: {taken}{spread}."
    return (
        f"**The machine was busy with other work: {taken}{spread}.** Absolute figures are too low, and "
        "ratios carry that noise as well: take this run as a rough picture and repeat it on a quiet machine."
    )


def rate_table(rows: Sequence[Row], figures: Figures, peers: Sequence[Peer], head: Head = "bare") -> str:
    def cell(row: Row, peer: Peer) -> str:
        rate = figures.rate(row, head, peer.id)
        if rate is None:
            return "–"
        text = f"{rate:,.0f}"
        return f"**{text}**" if peer.id == figures.best(row, head, [p.id for p in peers]) else text

    return table(
        ["", *(p.title for p in peers)], [[row.title, *(cell(row, p) for p in peers)] for row in rows]
    )


def ratio_table(rows: Sequence[Row], figures: Figures, peers: Sequence[Peer]) -> str:
    others = [p for p in peers if p.id not in (LIMIT, OURS)]
    lines = []
    for row in rows:
        best = figures.best(row, "bare", [p.id for p in others])
        to_best = figures.ratio(row, "bare", best) if best else None
        lines.append(
            [
                row.title,
                *(_ratio(figures.ratio(row, "bare", p.id)) for p in others),
                _barred(to_best, row.bar_best),
                _bar(row.bar_best),
                _barred(figures.ratio(row, "bare", LIMIT), row.bar_limit),
                _bar(row.bar_limit),
                _ratio(figures.cpu_ratio(row, "bare", best) if best else None),
                _ratio(figures.cpu_ratio(row, "bare", LIMIT)),
            ]
        )
    head = ["", *(f"to {p.title}" for p in others), "to the best", "bar", "to the limit", "bar"]
    return table([*head, "CPU, to the best", "CPU, to the limit"], lines)


def browser_table(rows: Sequence[Row], figures: Figures, peers: Sequence[Peer]) -> str:
    def cell(row: Row, peer: Peer) -> str:
        rate = figures.rate(row, "browser", peer.id)
        if rate is None:
            return "–"
        own = figures.browser_ratio(row, peer.id)
        bar = BROWSER_BAR if peer.id == OURS else None
        return f"{rate:,.0f} · {_barred(own, bar)}" if own else f"{rate:,.0f}"

    return table(
        ["", *(p.title for p in peers)], [[row.title, *(cell(row, p) for p in peers)] for row in rows]
    )


def cpu_table(rows: Sequence[Row], figures: Figures, peers: Sequence[Peer]) -> str:
    def cell(row: Row, peer: Peer) -> str:
        cost, share = figures.server_us(row, "bare", peer.id), figures.server_share(row, "bare", peer.id)
        return "–" if cost is None or share is None else f"{cost:,.1f} · {share:.0%}"

    return table(
        ["", *(p.title for p in peers)], [[row.title, *(cell(row, p) for p in peers)] for row in rows]
    )


def latency_table(steady: Sequence[Steady]) -> str:
    titles = {peer.id: peer.title for peer in PEERS}
    head = [
        "of the best peer's rate",
        *(titles[p] for p in latency.PEERS),
        "our p99 by the best peer's",
        "late",
    ]
    return table(head, latency.lines(steady)) if steady else "Not measured in this run."


def gap_list(rows: Sequence[Row], gaps: Sequence[Gap], peers: Sequence[Peer]) -> str:
    titles = {row.id: row.title for row in rows}
    names = {peer.id: peer.title for peer in peers}
    lines = dict.fromkeys(f"  - {titles[g.row]}, {names[g.peer]}: {g.why}." for g in gaps if g.row in titles)
    return "\n".join(lines) or "  - nothing."


def as_json(
    rows: Sequence[Row],
    samples: Sequence[Sample],
    gaps: Sequence[Gap],
    settings: Settings,
    machine: dict[str, str],
    minutes: float,
    steady: Sequence[Steady] = (),
) -> str:
    """Everything that was seen, one object a run."""
    return json.dumps(
        {
            "machine": machine,
            "rounds": settings.rounds,
            "seconds": settings.seconds,
            "minutes": round(minutes, 1),
            "peers": [peer.id for peer in settings.peers],
            "rows": [
                {"id": r.id, "title": r.title, "bar_best": r.bar_best, "bar_limit": r.bar_limit} for r in rows
            ],
            "runs": [
                {k: round(v, 4) if isinstance(v, float) else v for k, v in asdict(s).items()} for s in samples
            ],
            "latency": [asdict(run) for run in steady],
            "gaps": [asdict(gap) for gap in gaps],
        },
        indent=1,
    )


def _ratio(ratio: Ratio | None) -> str:
    return "–" if ratio is None else f"{ratio.middle:.2f}"


def _bar(bar: float | None) -> str:
    return "" if bar is None else f"{bar:.2f}"


def _barred(ratio: Ratio | None, bar: float | None) -> str:
    if ratio is None:
        return "–"
    return f"{ratio} ✗" if bar is not None and ratio.middle < bar else str(ratio)
