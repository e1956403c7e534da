"""What a request costs this proxy as things grow: connections, stored objects, workers.

    make bench-scale                                            # all of it: a quarter of an hour, 11 GiB of memory
    make bench-scale ARGS="--only connections --workers 1"      # a piece; what was measured before stays
    make bench-scale ARGS="--only objects-10000000"

Hits of 1 KiB for connections, of 64 bytes drawn evenly from all stored ones (262,144 draws) for objects, which are
stored by copying (bench/stocked.py). Two workers have both cores, which wrk then shares: their rate says less than the
CPU time of a request. Each round is a short run and a longer one, and what counts is their difference: connecting is
not in it. Results are joined with those in `benchmarks-scale.json` of the folder, and its page is written again.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from bench import load, machine, tools, written
from bench.load import Door, WrongAnswerError
from bench.peers import OURS, PEERS, ROOT, Place, Running, make_programs, start, start_origin
from bench.processes import Guard, Server, StartError, machine_busy_seconds, scratch_folder
from bench.rows import Row, Zipf, chosen
from bench.runner import judge
from bench.scale_page import FILE, Point, svg, table

CONNECTIONS = (64, 256, 1000, 4000, 10_000)
OBJECTS = (1000, 10_000, 100_000, 1_000_000, 10_000_000)
PER_OBJECT = 1130  # bytes of the store: such small ones take less, but its index has room for 15 in 16 KiB
BASE_MIB = 64
SPARE_MIB = 1024  # of memory that the store must leave
SPARE_FILES = 200
BEGIN, BEGIN_MANY = 1, 4  # seconds of the shorter run: until all connections have come about
MANY = 4000  # connections
SERVER_CORE, LOAD_CORE = 0, 1


def rows() -> list[tuple[str, int, Row]]:
    """(kind, how many, row) of every point."""
    base = replace(chosen(["hit-1k"])[0], heads=("bare",), store_mib=BASE_MIB)
    points = [
        ("connections", n, replace(base, id=f"connections-{n}", title=f"{n:,} connections", connections=n))
        for n in CONNECTIONS
    ]
    for n in OBJECTS:
        mib = BASE_MIB + n * PER_OBJECT // 2**20
        title = f"{n:,} objects of 64 B"
        row = replace(base, id=f"objects-{n}", title=title, size=64, zipf=Zipf(n, 0.0), store_mib=mib)
        points.append(("objects", n, row))
    return points


def _why_not(row: Row) -> str | None:
    """Why this machine cannot do a row."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if row.connections + SPARE_FILES > files:
        return f"needs {row.connections + SPARE_FILES:,} open files, {files:,} are allowed (ulimit -n)"
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            free = int(line.split()[1]) >> 10
            if row.store_mib + SPARE_MIB > free:
                return f"needs {(row.store_mib + SPARE_MIB) / 1024:.1f} GiB of memory, {free / 1024:.1f} are free"
    return None


def main() -> int:
    points = rows()
    parser = argparse.ArgumentParser(prog="bench.scale", description="cost of a request as things grow")
    parser.add_argument("--rounds", type=tools.positive, default=3, help="default 3")
    parser.add_argument(
        "--seconds",
        type=tools.positive,
        default=3,
        help="of a run; default 3, twice that for many connections",
    )
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="WHAT",
        help=f"connections, objects, or {', '.join(row.id for _, _, row in points)}; may be repeated",
    )
    parser.add_argument("--workers", action="append", type=int, choices=(1, 2), help="default both")
    parser.add_argument("--out", type=Path, default=ROOT / "docs", help="folder of the results; default docs")
    args = parser.parse_args()
    wanted = [p for p in points if not args.only or p[0] in args.only or p[2].id in args.only]
    unknown = set(args.only) - {name for kind, _, row in points for name in (kind, row.id)}
    if unknown:
        return tools.refuse("bench.scale", f"there is no {min(unknown)!r} to measure; see --help")
    if code := tools.not_there("bench.scale", tools.LOADED):
        return code
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    guard = Guard()
    try:
        folder = scratch_folder(guard)
        programs = folder / "programs"
        programs.mkdir()
        make_programs(programs)
        for workers in args.workers or (1, 2):
            for kind, number, row in wanted:
                point = Point(kind, number, workers, row.title, row.connections, row.store_mib, (), "")
                place = folder / f"{row.id}-{workers}"
                keep(args.out, measure(point, row, args.rounds, args.seconds, programs, place, guard))
    finally:
        guard.close()
    return 0


def measure(
    point: Point, row: Row, rounds: int, seconds: int, programs: Path, folder: Path, guard: Guard
) -> Point:
    """The point with what was measured; without samples, and with the reason, where it cannot be had."""
    why = _why_not(row)
    if why is not None:
        return replace(point, why=why)
    folder.mkdir()
    origin = start_origin(programs, folder, LOAD_CORE, guard)
    samples: list[dict[str, float]] = []
    one: Running | None = None
    try:
        ours = next(peer for peer in PEERS if peer.id == OURS)
        place = Place(
            folder / OURS, origin.port, row.store_mib, SERVER_CORE, programs, point.workers, stocked=True
        )
        one = start(ours, place, guard)
        door = Door(one.port, False)
        name = "z" if row.zipf else "0"
        first = f"{name}1" if row.zipf else name
        for _ in range(3):
            load.probe(door, row, "bare", first)
        if row.zipf:
            load.copy_all(place.folder, row, name)
        for number in range(rounds):
            samples.append(_round(row, one, door, name, first, origin, seconds, guard))
            print(f"{point.title}, round {number + 1}: {samples[-1]['server_us']:.2f} µs", file=sys.stderr)
    except (StartError, WrongAnswerError) as error:
        return replace(point, samples=(), why=str(error))
    finally:
        if one is not None:
            one.server.stop()
        origin.stop()
        shutil.rmtree(folder, ignore_errors=True)
    return replace(point, samples=tuple(samples))


def _round(
    row: Row, one: Running, door: Door, name: str, first: str, origin: Server, seconds: int, guard: Guard
) -> dict[str, float]:
    """A short run and one that is longer by `seconds`. What the longer did more is what counts, so that neither the
    connects nor the ends of connections are in it. WrongAnswerError when either was not what the row is about."""
    length = load.probe(door, row, "bare", first)
    begin = BEGIN_MANY if row.connections >= MANY else BEGIN
    counts, server, busy = [], [], []
    for duration in (begin, begin + seconds):
        one.between_runs()
        asked = load.count_requests(origin.port)
        cpu, all_cores = one.server.cpu_seconds(), machine_busy_seconds()
        count = load.run(door, row, "bare", name, seconds=duration, core=LOAD_CORE, guard=guard)
        counts.append(count)
        server.append(one.server.cpu_seconds() - cpu)
        busy.append(machine_busy_seconds() - all_cores)
        judge(row, count, length, load.count_requests(origin.port) - asked)
    short, long = counts
    requests, elapsed = long.requests - short.requests, long.seconds - short.seconds
    if requests <= 0 or elapsed <= 0:
        raise WrongAnswerError("the longer run did not do more")
    foreign = sum(busy) - sum(server) - sum(count.cpu_seconds for count in counts)
    return {
        "per_second": round(requests / elapsed, 1),
        "server_us": round((server[1] - server[0]) / requests * 1e6, 4),
        "server_share": round((server[1] - server[0]) / elapsed, 4),
        "p50_us": long.p50_us,
        "p99_us": long.p99_us,
        "foreign_share": round(max(0.0, foreign) / (short.seconds + long.seconds), 4),
    }


def keep(folder: Path, point: Point) -> None:
    """Joins a point with what the folder has, and writes its page again."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE
    old = json.loads(path.read_text())["points"] if path.exists() else []
    points: Sequence[Point] = sorted(
        [*(p for p in map(Point.of, old) if p.key != point.key), point], key=lambda p: p.key
    )
    facts = machine.describe()
    text = json.dumps({"machine": facts, "points": [asdict(p) for p in points]}, indent=1)
    path.write_text(text + "\n")
    path.with_suffix(".svg").write_text(svg(points))
    written.again(folder)
    print(table([point]))


if __name__ == "__main__":
    sys.exit(tools.finish(main))
