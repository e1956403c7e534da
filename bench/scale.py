"""What a request costs this proxy as things grow: connections, stored objects, workers.

    make bench-scale                     # to 10,000 connections and 100,000 objects, 1 and 2 workers
    make bench-scale ARGS="--objects 10000000 --rounds 3 --seconds 3"      # needs 6 GB of memory and half an hour

Hits of 1 KiB for connections and workers, of 64 bytes drawn evenly from all stored ones (262,144 draws) for objects.
Two workers have both cores, which wrk then shares: their rate says less than the CPU time of a request.
"""

from __future__ import annotations

import argparse
import resource
import sys
from dataclasses import replace
from statistics import median

from bench.peers import OURS, PEERS, make_programs
from bench.processes import Guard, scratch_folder
from bench.rows import Row, Zipf, chosen
from bench.runner import Runner, Settings

CONNECTIONS = (64, 256, 1000, 4000, 10_000)
OBJECTS = (1000, 10_000, 100_000, 1_000_000, 10_000_000)
PER_OBJECT = 560  # bytes of the store for 64 of body: key, head, record, index; and room to spare
BASE_MIB = 64


def rows(objects: int, connections: int) -> tuple[Row, ...]:
    base = replace(chosen(["hit-1k"])[0], heads=("bare",), store_mib=BASE_MIB)
    by_connections = [
        replace(base, id=f"connections-{n}", title=f"{n:,} connections", connections=n)
        for n in CONNECTIONS
        if n <= connections
    ]
    by_objects = [
        replace(
            base,
            id=f"objects-{n}",
            title=f"{n:,} objects of 64 B",
            size=64,
            zipf=Zipf(n, 0.0),
            store_mib=BASE_MIB + n * PER_OBJECT // 2**20,
        )
        for n in OBJECTS
        if n <= objects
    ]
    return (*by_connections, *by_objects)


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.scale", description="cost of a request as things grow")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--objects", type=int, default=100_000, help="at most so many; default 100000")
    parser.add_argument("--connections", type=int, default=10_000, help="at most so many; default 10000")
    args = parser.parse_args()
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    guard = Guard()
    lines: list[str] = []
    try:
        folder = scratch_folder(guard)
        programs = folder / "programs"
        programs.mkdir()
        make_programs(programs)
        for workers in (1, 2):
            asked = rows(args.objects, args.connections)
            asked = asked if workers == 1 else asked[:1]
            settings = Settings(
                rounds=args.rounds,
                seconds=args.seconds,
                peers=tuple(peer for peer in PEERS if peer.id == OURS),
                workers=workers,
            )
            place = folder / f"workers-{workers}"
            place.mkdir()
            runner = Runner(settings, programs, place, guard, asked)
            try:
                for row in asked:
                    runner.measure(row)
            finally:
                runner.close()
            for row in asked:
                seen = [sample for sample in runner.samples if sample.row == row.id]
                why = next((gap.why for gap in runner.gaps if gap.row == row.id), "")
                name = f"{workers} worker{'s' if workers > 1 else ''}, {row.title}"
                if not seen:
                    lines.append(f"{name:40} {why}")
                    continue
                rate, us = median(s.per_second for s in seen), median(s.server_us for s in seen)
                p50, p99 = median(s.p50_us for s in seen), median(s.p99_us for s in seen)
                lines.append(f"{name:40} {rate:10,.0f} {us:10.1f} {p50:10,.0f} {p99:10,.0f}")
    finally:
        guard.close()
    print(f"{'':40} {'per second':>10} {'CPU µs':>10} {'p50 µs':>10} {'p99 µs':>10}")
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
