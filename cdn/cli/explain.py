"""`cdn explain`: asks a running node what it would do with a URL, and why."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

from cdn.cli import admin_client
from cdn.cli.errors import Refused

SUMMARY = "say which route and key a URL has, whether it is stored, and why"
DESCRIPTION = """\
Asks a running node about one URL: which route it takes, its cache key, whether a response is stored and
fresh, and until when. Nothing is fetched and nothing changes. -H adds request headers, as with curl: they
count for Vary, key and bypass."""
EXAMPLES = """\
examples:
  cdn explain http://www.example.com/logo.png
  cdn explain http://www.example.com/ -H 'Accept-Language: de' -H 'Cookie: session=1'
  cdn explain http://www.example.com/ --json | jq .key

exit codes: 0 answered, 2 wrong use, 3 the admin listener refused or could not be reached
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("url", metavar="URL", help="absolute, as a client would ask for it")
    parser.add_argument(
        "-H", "--header", metavar="FIELD", action="append", default=[], help="a request header, 'Name: value'"
    )
    parser.add_argument("--json", action="store_true", help="print the answer as JSON")
    admin_client.arguments(parser)


def run(args: argparse.Namespace) -> int:
    for field in args.header:
        if ":" not in field:
            raise Refused(f"-H {field!r} has no colon: give it as 'Name: value'")
    query = urlencode([("url", args.url), *(("header", field) for field in args.header)])
    answer = admin_client.AdminClient(args).call("GET", f"/v1/explain?{query}")
    if args.json:
        print(json.dumps(answer, indent=2))
    else:
        print("\n".join(lines(answer)))
    return 0


def lines(answer: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    """The answer as aligned `name  value` lines, nested parts and field lines indented below their name."""
    width = max((len(name) for name in answer), default=0)
    for name, value in answer.items():
        label = name.removesuffix("_ms").replace("_", " ")
        if isinstance(value, Mapping) and value:
            yield f"{indent}{label}"
            yield from lines(value, indent + "  ")
        elif name == "fields" and isinstance(value, list) and value:
            yield f"{indent}{label}"
            yield from (f"{indent}  {': '.join(map(plain, pair))}" for pair in value)
        elif name.endswith("_ms") and isinstance(value, int):
            yield f"{indent}{label:<{width}}  {value / 1000:g} s"
        else:
            yield f"{indent}{label:<{width}}  {plain(value)}"


def plain(value: Any) -> str:
    """A leaf as text: no control characters, nothing where there is nothing."""
    if value is None or value == {} or value == []:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = ", ".join(map(plain, value)) if isinstance(value, list) else str(value)
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
