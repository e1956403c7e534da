"""ns for each operation of `cdn._core`, the store and the hit lane beside the Python way of doing it.

    make bench-micro
    .venv/bin/python -m bench.micro [--rounds 7] [--out docs]

CPU time, medians of the rounds. What is C is called in a loop in C (`_micro.pyx`, built first), what is Python in a
loop in Python, less the empty loop. Writes `benchmarks-micro.json` and the page again.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from bench import machine, micro_core, micro_store, tools, written
from bench.micro_page import FILE, table
from bench.peers import ROOT


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.micro", description="ns per operation beside Python")
    parser.add_argument("--rounds", type=tools.positive, default=7, help="default 7")
    parser.add_argument("--out", type=Path, default=ROOT / "docs", help="folder of the results; default docs")
    args = parser.parse_args()
    if code := tools.not_there("bench.micro", tools.COMPILED):
        return code
    with tempfile.TemporaryDirectory() as folder:
        leaves = micro_core.build(folder)
        operations = [
            *micro_store.operations(leaves, args.rounds),
            *micro_core.operations(leaves, args.rounds),
        ]
    read = [asdict(operation) for operation in operations]
    args.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"machine": machine.describe(), "operations": read}, indent=1)
    (args.out / FILE).write_text(text + "\n")
    written.again(args.out)
    print(table(read))
    return 0


if __name__ == "__main__":
    sys.exit(tools.finish(main))
