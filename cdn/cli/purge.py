"""`cdn purge`: takes stored responses out of use on a running node."""

from __future__ import annotations

import argparse

from cdn.cli import admin_client
from cdn.cli.errors import Refused

SUMMARY = "take stored responses out of use"
DESCRIPTION = """\
Tells a running node to forget what it stored: all variants of a URL, what has a tag, what begins with a
prefix, a whole host, or everything. With --soft what is stored counts as stale instead: its next use
refreshes it, and it still answers where stale answers are allowed."""
EXAMPLES = """\
examples:
  cdn purge --url http://www.example.com/logo.png
  cdn purge --url http://www.example.com/a --url http://www.example.com/b --soft
  cdn purge --tag news --tag front-page
  cdn purge --prefix http://www.example.com/images/ --soft
  cdn purge --host www.example.com
  cdn purge --all --config site.yaml

exit codes: 0 purged, 2 wrong use, 3 the admin listener refused or could not be reached
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", metavar="U", action="append", default=[], help="this URL; may be repeated")
    parser.add_argument(
        "--tag",
        metavar="T",
        action="append",
        default=[],
        help="what has this tag (a word of Surrogate-Key, a member of Cache-Tag); may be repeated",
    )
    parser.add_argument(
        "--prefix",
        metavar="P",
        action="append",
        default=[],
        help="what begins so: scheme, host and the path as far as given; may be repeated",
    )
    parser.add_argument(
        "--host",
        metavar="H",
        action="append",
        default=[],
        help="all of this host, whatever scheme and port; may be repeated",
    )
    parser.add_argument("--all", action="store_true", help="everything the node has stored")
    parser.add_argument("--soft", action="store_true", help="count it as stale instead of gone")
    admin_client.arguments(parser)


def run(args: argparse.Namespace) -> int:
    named = {"urls": args.url, "tags": args.tag, "prefixes": args.prefix, "hosts": args.host}
    wanted = {name: values for name, values in named.items() if values}
    if args.all and wanted:
        raise Refused("give --all or what to purge, not both")
    if not args.all and not wanted:
        raise Refused("nothing to purge: give --url, --tag, --prefix, --host or --all")
    body = {**wanted, "all": args.all, "soft": args.soft}
    answer = admin_client.AdminClient(args).call("POST", "/v1/purge", body)
    kind = "soft-purged" if args.soft else "purged"
    what = "everything" if args.all else ", ".join(_count(*pair) for pair in named.items() if pair[1])
    counted = args.all or args.url
    everywhere = f", number {answer['sequence']} of all nodes" if "sequence" in answer else ""
    print(f"{kind} {what}" + (f": {answer.get('purged')} reached" if counted else "") + everywhere)
    return 0


_ONE = {"urls": "URL", "tags": "tag", "prefixes": "prefix", "hosts": "host"}


def _count(name: str, values: list[str]) -> str:
    return f"1 {_ONE[name]}" if len(values) == 1 else f"{len(values)} {'URLs' if name == 'urls' else name}"
