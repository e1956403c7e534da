"""`cdn purge`: takes stored responses out of use on a running node."""

from __future__ import annotations

import argparse

from cdn.cli import admin_client
from cdn.cli.errors import Refused

SUMMARY = "take stored responses out of use"
DESCRIPTION = """\
Tells a running node to forget what it stored: all variants of a URL, or everything. With --soft what is
stored counts as stale instead: its next use refreshes it, and it still answers where stale answers are
allowed."""
EXAMPLES = """\
examples:
  cdn purge --url http://www.example.com/logo.png
  cdn purge --url http://www.example.com/a --url http://www.example.com/b --soft
  cdn purge --all --config site.yaml

exit codes: 0 purged, 2 wrong use, 3 the admin listener refused or could not be reached
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", metavar="U", action="append", default=[], help="this URL; may be repeated")
    parser.add_argument("--all", action="store_true", help="everything the node has stored")
    parser.add_argument("--soft", action="store_true", help="count it as stale instead of gone")
    for later in ("tag", "prefix", "host"):  # the node says that these are not available yet
        parser.add_argument(f"--{later}", action="append", default=[], help=argparse.SUPPRESS)
    admin_client.arguments(parser)


def run(args: argparse.Namespace) -> int:
    named = {"urls": args.url, "tags": args.tag, "prefixes": args.prefix, "hosts": args.host}
    wanted = {name: values for name, values in named.items() if values}
    if args.all and wanted:
        raise Refused("give --all or what to purge, not both")
    if not args.all and not wanted:
        raise Refused("nothing to purge: give --url or --all")
    body = {**wanted, "all": args.all, "soft": args.soft}
    answer = admin_client.AdminClient(args).call("POST", "/v1/purge", body)
    kind = "soft-purged" if args.soft else "purged"
    what = "everything" if args.all else f"{len(args.url)} URL{'s' if len(args.url) != 1 else ''}"
    print(f"{kind} {what}: {answer.get('purged')} reached")
    return 0
