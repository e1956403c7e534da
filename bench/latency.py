"""The row `latency`: times of hits at fixed rates, beside the peers, as an open loop (bench/steady.c).

First a closed loop finds each server's highest rate, a few times in turn. From then on every server is asked at the
same rates, shares of what the best peer did: many short rounds, all servers in turn within each, and the median of the
rounds' percentiles. What disturbs a round (another virtual machine, a timer of the kernel) is in one round and in
nobody's median. The limit stands beside them for what machine, kernel and generator cost by themselves. Knows no page.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from bench import load
from bench.load import Door, WrongAnswerError
from bench.peers import LIMIT, OURS, Place, Running, start, start_origin
from bench.processes import Guard, StartError
from bench.rows import SITE, chosen
from bench.runner import Progress, Settings

ID = "latency"
PEERS = (LIMIT, "nginx", "haproxy", OURS)
SHARES = (0.2, 0.5, 0.8)
BARRED = 0.5  # the share at which our p99 has to be at most the best peer's
PEAK_RUNS = 3  # closed loops that a server's highest rate is the median of
SECONDS = 1  # of one open loop
ROUNDS = 3  # of open loops, for each round of the other rows


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
    late_p99_us: float  # how late the generator was by itself
    p50_us: float
    p99_us: float
    p999_us: float
    max_us: float
    stall_share: float = 0.0  # of the time, in which the generator stood still
    best: str = ""  # the best peer; "" in files of runs that did not say


def measure(settings: Settings, programs: Path, folder: Path, guard: Guard) -> tuple[list[Steady], list[str]]:
    """(runs, why a peer has none)."""
    row = chosen(["hit-1k"])[0]
    peers = [peer for peer in settings.peers if peer.id in PEERS]
    rounds = settings.rounds * ROUNDS
    runs: list[Steady] = []
    gaps: list[str] = []
    progress = Progress(len(peers) * (PEAK_RUNS + rounds * len(SHARES)))
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
        peaks: dict[str, list[float]] = {one.peer.id: [] for one in running}
        for number in range(PEAK_RUNS):
            for one in _in_turn(running, number):
                one.between_runs()
                door = Door(one.port, False)
                seconds, core = settings.seconds, settings.load_core
                count = load.run(door, row, "bare", "0", seconds=seconds, core=core, guard=guard)
                peaks[one.peer.id].append(count.per_second)
                progress.step(f"{one.peer.title}: {count.per_second:,.0f}/s in a closed loop")
        best, peak = best_of({peer_id: median(rates) for peer_id, rates in peaks.items()})
        for number in range(rounds):
            for share in SHARES:
                for one in _in_turn(running, number):
                    one.between_runs()
                    rate = peak * share
                    seen = _steady(programs, one.port, rate, settings.load_core, row.connections, row.body)
                    runs.append(Steady(one.peer.id, number, share, round(rate), **seen, best=best))
                    progress.step(
                        f"round {number + 1}, {one.peer.title} at {rate:,.0f}/s: p99 {seen['p99_us']:,.0f} µs"
                    )
    except WrongAnswerError as error:
        gaps.append(str(error))
    finally:
        for one in running:
            one.server.stop()
        origin.stop()
        progress.close()
    return runs, gaps


def best_of(peaks: dict[str, float]) -> tuple[str, float]:
    """The peer with the highest rate, and that rate; where no peer was measured, ourselves."""
    theirs = {peer: rate for peer, rate in peaks.items() if peer not in (OURS, LIMIT)} or peaks
    best = max(theirs, key=lambda peer: theirs[peer])
    return best, theirs[best]


def _in_turn(running: list[Running], number: int) -> list[Running]:
    turn = number % len(running)
    return running[turn:] + running[:turn]


def _steady(programs: Path, port: int, rate: float, core: int, connections: int, body: int) -> dict[str, Any]:
    """One run of the C program; WrongAnswerError when it gives no figures."""
    head = f"GET /store/{body}/0 HTTP/1.1\r\nHost: {SITE}\r\n\r\n"
    command = ["taskset", "-c", str(core), str(programs / "steady"), str(port), f"{rate:.0f}"]
    done = subprocess.run(
        [*command, str(SECONDS), str(connections), str(body)],
        input=head,
        capture_output=True,
        text=True,
        timeout=SECONDS + 30,
        check=False,
    )
    if done.returncode:
        raise WrongAnswerError(f"steady failed: {done.stderr.strip()[-200:]}")
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


def lines(runs: Sequence[Steady]) -> list[list[str]]:
    """For a table: a line for each share, cells `p50 · p99 · p99.9` in µs, and our p99 by the best peer's, round by
    round."""
    table = []
    for share in SHARES:
        at = [run for run in runs if run.share == share]
        if not at:
            continue
        cells = [f"{share:.0%}: {at[0].rate:,.0f}/s"]
        for peer in PEERS:
            own = [run for run in at if run.peer == peer]
            points = [median(getattr(r, key) for r in own) for key in ("p50_us", "p99_us", "p999_us") if own]
            cells.append(" · ".join(f"{us:,.0f}" for us in points) or "–")
        cells.append(_ratio(at))
        cells.append(f"{median(run.late_p99_us for run in at):,.1f}")
        table.append(cells)
    return table


def ratios(at: Sequence[Steady]) -> list[float]:
    """Our p99 by the best peer's in each round that has both; where none is known as the best, by the lowest."""
    ours = {run.round: run.p99_us for run in at if run.peer == OURS}
    theirs: dict[int, float] = {}
    for run in at:
        if run.peer not in (OURS, LIMIT) and run.best in ("", run.peer):
            theirs[run.round] = min(run.p99_us, theirs.get(run.round, run.p99_us))
    return [ours[number] / theirs[number] for number in ours if theirs.get(number)]


def _ratio(at: Sequence[Steady]) -> str:
    by_round = ratios(at)
    if not by_round:
        return "–"
    middle = median(by_round)
    low, _, high = quantiles(by_round, n=4) if len(by_round) > 1 else (middle, middle, middle)
    mark = " ✗" if at[0].share == BARRED and middle > 1 else ""
    return f"{middle:.2f} ({low:.2f}–{high:.2f}){mark}"
