"""`cdn bench`: a load test of a URL; turns arguments into a plan and a result into text, JSON and HTML.

What is asked and how is the business of `cdn.loadtest`.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from pathlib import Path

from cdn import loadtest
from cdn.cli.errors import FAILED, WRONG_USE, Refused
from cdn.loadtest import LoadTestError, Plan, Result
from cdn.loadtest.progress import Progress
from cdn.loadtest.report import html
from cdn.loadtest.running import GENERATORS
from cdn.loadtest.target import parse
from cdn.loadtest.text import summary

SUMMARY = "load-test a deployment: rates, percentiles, hit ratio, errors"
DESCRIPTION = """\
Asks a server for one URL or many, for a while, and says how fast it answered, what its cache did (by
Cache-Status) and what went wrong. Without --rate every connection asks again as soon as it was answered (a
closed loop: how much can it do?). With --rate requests are due at fixed times, and one that has to wait counts
from when it was due (an open loop: what would visitors see?). Only GET is sent; redirects are not followed.
wrk and h2load are used where they are installed and can do it, our own generator for all else."""
EXAMPLES = """\
examples:
  cdn bench http://127.0.0.1:8080/logo.png
  cdn bench http://127.0.0.1:8080/logo.png --rate 5000 --duration 30 --html report.html
  cdn bench 'http://127.0.0.1:8080/item/{}' --objects 100000 --zipf 0.9 --connections 100
  cdn bench http://127.0.0.1:8080 --trace requests.txt --rate 2000
  cdn bench https://www.example.com/ --urls pages.txt --allow-host www.example.com
  cdn bench https://127.0.0.1:8443/ --http2 --insecure

exit codes: 0 measured; 1 nobody listens, nothing was answered or --max-errors is exceeded; 2 wrong use;
130 stopped by Ctrl-C
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("url", metavar="URL", help="where everything is sent; {} in its path: the number of an object")
    add("--duration", metavar="S", type=_positive, default=10.0, help="seconds; default 10")
    add("--connections", metavar="N", type=_count, default=64, help="default 64")
    add(
        "--rate", metavar="R", type=_positive, help="open loop: so many requests a second, by all connections"
    )
    add("--objects", metavar="N", type=_count, help="numbers 0 to N - 1 take the place of {}")
    add("--urls", metavar="FILE", type=Path, help="paths or URLs, one a line, drawn at random")
    add("--trace", metavar="FILE", type=Path, help="the same, asked for once and in their order")
    add("--zipf", metavar="ALPHA", type=_exponent, help="draw number or line k in proportion to k^-ALPHA")
    add("--seed", metavar="N", type=int, default=1, help="of what is drawn; default 1")
    add(
        "-H",
        "--field",
        metavar="F",
        action="append",
        default=[],
        help="a field, 'Name: value'; may be repeated",
    )
    add("--timeout", metavar="S", type=_positive, default=10.0, help="for each request; default 10")
    add("--http2", action="store_true", help="HTTP/2, by h2load")
    add("--insecure", action="store_true", help="take any certificate")
    add("--ca", metavar="FILE", type=Path, help="certificates of the authorities to believe (PEM)")
    add("--generator", choices=GENERATORS, default="auto", help="default auto: the fastest that can do it")
    add("--allow-host", metavar="HOST", help="load this host although it is not local: it has to be yours")
    add("--max-errors", metavar="SHARE", type=_share, help="exit with 1 above this share of errors, as 0.01")
    add("--json", action="store_true", help="the result as JSON on stdout")
    add("--html", metavar="FILE", type=Path, help="write a report with plots")


def _measure(args: argparse.Namespace) -> Result:
    plan = Plan(
        target=parse(args.url),
        duration=args.duration,
        connections=args.connections,
        rate=args.rate,
        timeout=args.timeout,
        fields=tuple(_field(text) for text in args.field),
        objects=args.objects,
        urls=args.urls,
        trace=args.trace,
        zipf=args.zipf,
        seed=args.seed,
        http2=args.http2,
        insecure=args.insecure,
        ca=args.ca,
    )
    with Progress(plan.duration, sys.stderr) as progress:
        return loadtest.run(
            plan,
            args.generator,
            allowed_host=args.allow_host,
            progress=progress.moment,
            begins=progress.begins,
        )


def run(args: argparse.Namespace) -> int:
    if args.html is not None:
        if not args.html.absolute().parent.is_dir():
            raise Refused(f"--html {args.html}: there is no such folder")
        if args.html.is_dir():
            raise Refused(f"--html {args.html}: this is a folder: name a file in it")
    try:
        result = _measure(args)
    except LoadTestError as error:
        raise Refused(str(error), code=FAILED if error.failed else WRONG_USE) from None
    if args.json:
        print(json.dumps(result.as_dict(), indent=1))
    else:
        print(summary(result), end="")
    if args.html is not None:
        try:
            args.html.write_text(html(result, time.strftime("%Y-%m-%d %H:%M:%S %z")), "utf-8")
        except OSError as error:
            raise Refused(f"--html {args.html}: {error.strerror}", code=FAILED) from None
    if result.interrupted:
        return 130
    if result.answered == 0:
        raise Refused("nothing was answered", code=FAILED)
    if args.max_errors is not None and result.error_share > args.max_errors:
        raise Refused(f"{result.error_share:.2%} errors, more than {args.max_errors:.2%}", code=FAILED)
    return 0


def _field(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise LoadTestError(f"-H {text!r}: a field is written 'Name: value'")
    return name.strip(), value.strip()


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number")
    return value


def _positive(text: str) -> float:
    value = _number(text)
    if not 0 < value <= 1e7:
        raise argparse.ArgumentTypeError(f"{text!r} has to be above 0 and at most 10,000,000")
    return value


def _exponent(text: str) -> float:
    value = _number(text)
    if not 0 <= value <= 10:
        raise argparse.ArgumentTypeError(f"{text!r} has to be from 0 to 10")
    return value


def _share(text: str) -> float:
    value = _number(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is a share, from 0 to 1")
    return value


def _count(text: str) -> int:
    value = int(text) if text.isascii() and text.isdecimal() and len(text) < 12 else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return value
