"""The `cdn` command: finds the subcommand, turns what it raises into one sentence and an exit code.

Exit codes: 0 done; 1 failed while running; 2 wrong use, configuration, or a port or file that cannot be had;
3 the admin listener refused or could not be reached. What each command does is in the module of its name;
nothing here knows it.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Never

from cdn import __version__
from cdn.cli.errors import WRONG_USE, Refused

COMMANDS = ("serve", "check", "demo", "purge", "explain", "top", "bench")  # a module each

EXAMPLES = """\
examples:
  cdn demo                              see it work: an origin, the proxy and the dashboard on localhost
  cdn check site.yaml                   every mistake with its line, or the normalised configuration
  cdn serve site.yaml                   run it in the foreground
  cdn explain http://www.example.com/   why a URL is cached, or not
  cdn purge --url http://www.example.com/logo.png
  cdn top                               what a running node does now
  cdn bench http://127.0.0.1:8080/      how fast a deployment answers, and what its cache did

Each command has its own help: cdn serve --help
"""


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, and where all options are listed."""

    def error(self, message: str) -> Never:
        self.exit(WRONG_USE, f"{self.prog}: {message} ({self.prog} --help lists what there is)\n")


def parser(command: str | None = None) -> argparse.ArgumentParser:
    """The whole command line, or as much as `command` needs; every command module adds its own arguments.

    A node that starts again serves sooner when nothing is loaded for the other commands.
    """
    whole = Parser(
        prog="cdn",
        description="A caching reverse proxy: it stands before web servers and answers from its store.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    whole.add_argument("--version", action="version", version=f"cdn {__version__}")
    commands = whole.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for name in (command,) if command in COMMANDS else COMMANDS:
        module: ModuleType = importlib.import_module(f"{__name__}.{name}")
        sub = commands.add_parser(
            name,
            help=module.SUMMARY,
            description=module.DESCRIPTION,
            epilog=module.EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.arguments(sub)
        sub.set_defaults(run=module.run)
    return whole


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; the return value is the exit code."""
    given = sys.argv[1:] if argv is None else argv
    whole = parser(given[0] if given else None)
    args, unknown = whole.parse_known_args(argv)
    if unknown:
        command = f"cdn {args.command}" if args.command else "cdn"
        print(
            f"{command}: there is no {' '.join(unknown)} ({command} --help lists what there is)",
            file=sys.stderr,
        )
        return WRONG_USE
    if args.command is None:
        whole.print_help(sys.stderr)
        return 2
    try:
        code: int = args.run(args)
        sys.stdout.flush()
    except Refused as refusal:
        for line in refusal.lines:
            print(line if refusal.bare else f"cdn {args.command}: {line}", file=sys.stderr)
        return refusal.code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of our output left (`cdn check … | head`): nothing more can be said to it, at exit
        # neither.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code
