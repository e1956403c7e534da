"""What has to be installed for a measurement, and what all of its command lines have in common.

Decides nothing about what is measured. A program that only a peer needs is not asked for here: that peer is left out.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

LOADED = ("wrk", "cc", "openssl", "taskset")  # for anything that asks a server over and over
HELD = ("cc", "openssl", "taskset")  # for what holds connections by itself
COMPILED = ("cc",)
INTERRUPTED = 130


def missing(needed: Sequence[str], also: Sequence[str] = ()) -> list[str]:
    """Those of `needed` that are not there, after an attempt to install them, and `also`, where that is possible."""
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    wanted = [program for program in (*needed, *also) if shutil.which(program) is None]
    if wanted:
        script = str(Path(__file__).with_name("requirements.sh"))
        subprocess.run(["sh", script, *wanted], check=False)
    return [program for program in needed if shutil.which(program) is None]


def refuse(prog: str, why: str) -> int:
    """One sentence on stderr; the exit code of wrong use."""
    print(f"{prog}: {why}", file=sys.stderr)
    return 2


def not_there(prog: str, needed: Sequence[str]) -> int:
    """0, or the exit code when something is missing that cannot be done without."""
    lacking = missing(needed)
    return refuse(prog, f"not installed: {', '.join(lacking)} (see bench/requirements.sh)") if lacking else 0


def positive(text: str) -> int:
    """For argparse: a whole number from 1."""
    value = int(text) if text.isascii() and text.isdecimal() and len(text) < 12 else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return value


def finish(main: Callable[[], int]) -> int:
    """Its exit code; Ctrl-C is no traceback."""
    try:
        return main()
    except KeyboardInterrupt:
        return INTERRUPTED
