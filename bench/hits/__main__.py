"""`python -m bench.hits`: the command line; see the package."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bench.hits import page, references
from bench.hits.figures import CACHETOOLS, default_folder, measure
from bench.hits.traces import Trace, recorded, synthetic


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="bench.hits", description="How often the store answers, policy by policy."
    )
    p.add_argument(
        "--traces", type=Path, metavar="FOLDER", help="recorded traces: *.csv.gz of time,obj_id,size"
    )
    p.add_argument(
        "--only", action="append", default=[], metavar="NAME", help="only this trace; may be repeated"
    )
    p.add_argument("--rounds", type=int, default=3, help="replays of a policy, whose mean counts; default 3")
    p.add_argument("--no-simulator", action="store_true", help="leave libcachesim out")
    p.add_argument(
        "--out", type=Path, default=default_folder(), help="folder of the results; default var/bench"
    )
    return p


def main() -> int:
    args = parser().parse_args()
    if args.rounds < 1:
        return _refuse("--rounds has to be at least 1")
    try:
        traces = _traces(args.traces)
    except ValueError as error:
        return _refuse(str(error))
    unknown = set(args.only) - {t.name for t in traces}
    if unknown:
        return _refuse(f"no trace is called {min(unknown)!r}; there are {', '.join(t.name for t in traces)}")
    args.out.mkdir(parents=True, exist_ok=True)
    simulator = None if args.no_simulator else references.libcachesim(default_folder() / "libcachesim")
    chosen = [t for t in traces if not args.only or t.name in args.only]
    results = [measure(trace, args.rounds, simulator) for trace in chosen]
    (args.out / "hit-ratios.md").write_text(page.document(results, CACHETOOLS, args.rounds))
    (args.out / "hit-ratios.svg").write_text(page.svg(results, CACHETOOLS))
    print(f"{page.summary(results)}\n\n{page.deviation(results, CACHETOOLS)}\n\n{page.table(results)}")
    print(f"bench: {args.out / 'hit-ratios.md'}, hit-ratios.svg", file=sys.stderr)
    return 0


def _traces(folder: Path | None) -> list[Trace]:
    if folder is None:
        print("bench: no --traces, so synthetic ones only", file=sys.stderr)
        return synthetic()
    if not folder.is_dir():
        print(f"bench: {folder} is not there, so synthetic traces only", file=sys.stderr)
        return synthetic()
    return recorded(folder) + synthetic()


def _refuse(why: str) -> int:
    print(f"bench: {why}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
