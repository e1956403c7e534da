"""`python -m bench`: the command line of the harness; see the package."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType

from bench import latency, machine, plot, report, tools, written
from bench.figures import Figures
from bench.peers import LIMIT, OURS, PEERS, ROOT, make_programs
from bench.processes import Guard, scratch_folder
from bench.rows import ROWS, Row, chosen
from bench.runner import Runner, Settings


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="bench", description="This proxy beside its peers, row by row.")
    p.add_argument(
        "--row",
        action="append",
        default=[],
        metavar="ID",
        help=", ".join([*(r.id for r in ROWS), latency.ID]),
    )
    p.add_argument(
        "--peer", action="append", default=[], metavar="ID", help="only these beside ours and the limit"
    )
    p.add_argument("--rounds", type=tools.positive, default=None, help="default 5; 3 with --quick")
    p.add_argument(
        "--seconds", type=tools.positive, default=None, help="of one run; default 3; 1 with --quick"
    )
    p.add_argument("--quick", action="store_true", help="short runs: does it work, not how fast is it")
    p.add_argument("--server-core", type=int, default=0, help="default 0")
    p.add_argument("--load-core", type=int, default=1, help="of wrk and the origin; default 1")
    p.add_argument("--out", type=Path, default=None, help="folder of the results; default docs, or var/bench")
    return p


def main() -> int:
    args = parser().parse_args()
    signal.signal(signal.SIGTERM, _leave)
    try:
        wanted = [name for name in args.row if name != latency.ID]
        rows = chosen(wanted) if wanted or not args.row else ()
    except ValueError as error:
        return _refuse(str(error))
    unknown = set(args.peer) - {peer.id for peer in PEERS}
    if unknown:
        return _refuse(f"no peer is called {min(unknown)!r}; there are {', '.join(p.id for p in PEERS)}")
    asked = tuple(p for p in PEERS if not args.peer or p.id in (*args.peer, OURS, LIMIT))
    if lacking := tools.missing(tools.LOADED, [p.program for p in asked if p.program]):
        return _refuse(f"not installed: {', '.join(lacking)} (see bench/requirements.sh)")
    cores = os.sched_getaffinity(0)
    if args.server_core == args.load_core or not {args.server_core, args.load_core} <= cores:
        return _refuse(f"--server-core and --load-core have to be two of {sorted(cores)}")
    settings = Settings(
        rounds=args.rounds or (3 if args.quick else 5),
        seconds=args.seconds or (1 if args.quick else 3),
        peers=asked,
        server_core=args.server_core,
        load_core=args.load_core,
    )
    part = args.quick or args.row or args.peer
    steady = not args.row or latency.ID in args.row
    return measure(rows, settings, steady, args.out or ROOT / ("var/bench" if part else "docs"))


def measure(rows: tuple[Row, ...], settings: Settings, steady: bool, out: Path) -> int:
    """The run and its three files; what was measured until Ctrl-C is written too. 1 when nothing counted."""
    begin = time.monotonic()
    facts = machine.describe()
    guard = Guard()
    done: list[Row] = []
    interrupted = False
    runs: list[latency.Steady] = []
    try:
        folder = scratch_folder(guard)
        programs = folder / "programs"
        programs.mkdir()
        make_programs(programs)
        runner = Runner(settings, programs, folder, guard, rows)
        try:
            for row in rows:
                runner.measure(row)
                done.append(row)
            if steady:
                runs, why = latency.measure(settings, programs, folder, guard)
                for sentence in why:
                    print(f"bench: latency, {sentence}", file=sys.stderr)
        except KeyboardInterrupt:
            interrupted = True
        finally:
            runner.close()
    finally:
        guard.close()
    if not (runner.samples and done) and not runs:
        return _refuse("nothing was measured")
    figures = Figures(runner.samples)
    minutes = (time.monotonic() - begin) / 60
    if interrupted:
        out = ROOT / "var/bench"
    out.mkdir(parents=True, exist_ok=True)
    text = report.as_json(done, runner.samples, runner.gaps, settings, facts, minutes, runs)
    (out / "benchmarks.json").write_text(text + "\n")
    written.again(out)
    (out / "benchmarks.svg").write_text(plot.svg(done, figures, settings.peers))
    if runs:
        print(report.latency_table(runs), end="\n\n")
    print(report.rate_table(done, figures, settings.peers))
    print()
    print(report.ratio_table(done, figures, settings.peers))
    print(f"\n{report.noise(figures)}\n\n{'stopped early: ' if interrupted else ''}{out / 'benchmarks.md'}")
    return 0


def _refuse(why: str) -> int:
    return tools.refuse("bench", why)


def _leave(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(tools.finish(main))
