"""The row `latency`: times of hits at fixed rates, beside the peers, as an open loop (bench/steady.c).

Each round finds with wrk the best rate among the peers, then asks every server at the same shares of that rate, so
that they are compared under the same load. Knows no page.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench import load
from bench.load import Door, WrongAnswerError
from bench.peers import OURS, Place, Running, start, start_origin
from bench.processes import Guard, StartError
from bench.rows import SITE, chosen
from bench.runner import Progress, Settings

ID = "latency"
PEERS = ("nginx", "haproxy", OURS)
SHARES = (0.2, 0.5, 0.8)
BARRED = 0.5  # the share at which our p99 has to be at most the best peer's


@dataclass(frozen=True, slots=True)
class Steady:
    """One run at a fixed rate. Latencies in µs from when a request was due."""

    peer: str
    round: int
    share: float  # of the best peer's highest rate
    rate: float
    due: int
    answered: int
    errors: int
    late_p99_us: int  # how late the generator was by itself
    p50_us: int
    p99_us: int
    p999_us: int
    max_us: int


def measure(settings: Settings, programs: Path, folder: Path, guard: Guard) -> tuple[list[Steady], list[str]]:
    """(runs, why a peer has none)."""
    row = chosen(["hit-1k"])[0]
    peers = [peer for peer in settings.peers if peer.id in PEERS]
    runs: list[Steady] = []
    gaps: list[str] = []
    progress = Progress(settings.rounds * len(peers) * (1 + len(SHARES)))
    origin = start_origin(programs, folder, settings.load_core, guard)
    running: list[Running] = []
    try:
        for peer in peers:
            place = Place(
                folder / f"{ID}-{peer.id}", origin.port, row.store_mib, settings.server_core, programs
            )
            try:
                one = start(peer, place, guard)
            except StartError as error:
                gaps.append(f"{peer.title}: {error}")
                continue
            running.append(one)
            for _ in range(3):
                load.probe(Door(one.port, False), row, "bare", "0")
        for number in range(settings.rounds):
            rates: dict[str, float] = {}
            for one in running:
                count = load.run(
                    Door(one.port, False),
                    row,
                    "bare",
                    "0",
                    seconds=settings.seconds,
                    core=settings.load_core,
                    guard=guard,
                )
                rates[one.peer.id] = count.per_second
                progress.step(
                    f"round {number + 1}, {one.peer.title}: {count.per_second:,.0f}/s in a closed loop"
                )
            theirs = [rate for peer_id, rate in rates.items() if peer_id != OURS] or list(rates.values())
            turn = number % len(running) if running else 0
            for share in SHARES:
                for one in running[turn:] + running[:turn]:
                    one.between_runs()
                    rate = max(theirs) * share
                    seen = _steady(programs, one.port, rate, settings, row.connections, row.body)
                    runs.append(Steady(one.peer.id, number, share, round(rate), **seen))
                    progress.step(
                        f"round {number + 1}, {one.peer.title} at {rate:,.0f}/s: p99 {seen['p99_us']:,} µs"
                    )
    except WrongAnswerError as error:
        gaps.append(str(error))
    finally:
        for one in running:
            one.server.stop()
        origin.stop()
        progress.close()
    return runs, gaps


def _steady(
    programs: Path, port: int, rate: float, settings: Settings, connections: int, body: int
) -> dict[str, int]:
    """One run of the C program; WrongAnswerError when it gives no figures."""
    head = f"GET /store/{body}/0 HTTP/1.1\r\nHost: {SITE}\r\n\r\n"
    command = ["taskset", "-c", str(settings.load_core), str(programs / "steady"), str(port), f"{rate:.0f}"]
    done = subprocess.run(
        [*command, str(settings.seconds), str(connections), str(body)],
        input=head,
        capture_output=True,
        text=True,
        timeout=settings.seconds + 30,
        check=False,
    )
    if done.returncode:
        raise WrongAnswerError(f"steady failed: {done.stderr.strip()[-200:]}")
    seen: dict[str, int] = json.loads(done.stdout)
    return seen


def lines(runs: Sequence[Steady]) -> list[list[str]]:
    """For a table: a line for each share, cells `p50 · p99 · p99.9` in µs, and our p99 by the best peer's, round by
    round."""
    table = []
    for share in SHARES:
        at = [run for run in runs if run.share == share]
        if not at:
            continue
        rate = median(run.rate for run in at)
        cells = [f"{share:.0%}: {rate:,.0f}/s"]
        for peer in PEERS:
            own = [run for run in at if run.peer == peer]
            points = [median(getattr(r, key) for r in own) for key in ("p50_us", "p99_us", "p999_us") if own]
            cells.append(" · ".join(f"{us:,.0f}" for us in points) or "–")
        cells.append(_ratio(at))
        cells.append(f"{median(run.late_p99_us for run in at):,.0f}")
        table.append(cells)
    return table


def _ratio(at: Sequence[Steady]) -> str:
    by_round = []
    for number in {run.round for run in at}:
        ours = [r.p99_us for r in at if r.round == number and r.peer == OURS]
        theirs = [r.p99_us for r in at if r.round == number and r.peer != OURS]
        if ours and theirs and min(theirs):
            by_round.append(ours[0] / min(theirs))
    if not by_round:
        return "–"
    middle = median(by_round)
    mark = " ✗" if at[0].share == BARRED and middle > 1 else ""
    return f"{middle:.2f} ({min(by_round):.2f}–{max(by_round):.2f}){mark}"
