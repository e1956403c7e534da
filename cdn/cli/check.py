"""`cdn check`: validates a configuration file without starting anything."""

from __future__ import annotations

import argparse

from cdn.cli.loading import read

SUMMARY = "validate a configuration and print its normalised form"
DESCRIPTION = """\
Reads CONFIG and prints it in its normalised form, every default written out. A file with mistakes gives one
line for each of them (file:line: what is wrong and the way out) and exit code 2. Warnings go to stderr."""
EXAMPLES = """\
examples:
  cdn check site.yaml
  cdn check site.yaml > normalised.yaml      what the node will do, in full
  cdn check site.yaml && kill -HUP $PID      reload only what is valid
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", metavar="CONFIG", help="the YAML file")
    parser.add_argument("-q", "--quiet", action="store_true", help="print mistakes and warnings only")


def run(args: argparse.Namespace) -> int:
    from cdn.config import render

    config = read(args.config)
    if not args.quiet:
        print(render(config), end="")
    return 0
