"""`cdn serve`: runs a node in the foreground."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from cdn.cli.errors import FAILED, Refused
from cdn.cli.loading import read
from cdn.config import ConfigError, load
from cdn.config.values import Config

SUMMARY = "run a node in the foreground"
DESCRIPTION = """\
Runs the node that CONFIG describes until a signal ends it. Each listener is one line on stderr.

  SIGHUP            reads CONFIG again (a file with mistakes changes nothing) and opens the access log anew
  SIGTERM, SIGINT   takes no new connections, finishes what is under way and leaves
  a second one      leaves at once

A port in use, a file that cannot be read, a certificate that does not fit: one sentence and exit code 2."""
EXAMPLES = """\
examples:
  cdn serve site.yaml
  cdn serve site.yaml > access.log           the access log goes to stdout unless log.access.to names a file
  CDN_ADMIN_TOKEN=… cdn serve site.yaml      with admin: {token_env: CDN_ADMIN_TOKEN}
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", metavar="CONFIG", help="the YAML file")
    parser.add_argument(
        "--drain",
        metavar="SECONDS",
        type=seconds,
        default=None,
        help="how long SIGTERM waits for what is under way (default: timeouts.drain of CONFIG, 30 s)",
    )


def seconds(text: str) -> float:
    """A number of seconds from 0 to a day."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 86_400:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0 to 86400")
    return value


def run(args: argparse.Namespace) -> int:
    config = read(args.config)
    return serve(config, drain=args.drain, read_config=lambda: reread(args.config))


def reread(path: str) -> Config:
    """For a reload: ValueError with one line instead of the whole list."""
    try:
        config = load(path)
    except ConfigError as error:
        count = len(error.problems)
        more = f" (and {count - 1} more; cdn check {path} shows them)" if count > 1 else ""
        raise ValueError(f"{error.problems[0]}{more}") from error
    return config


def serve(
    config: Config,
    *,
    drain: float | None,
    read_config: Callable[[], Config] | None,
    started: Callable[[], None] | None = None,
) -> int:
    """Runs a node for `config` until it is told to leave, this process its supervisor; Refused when it cannot start."""
    from cdn.control.log import NodeLog, take_over_logging
    from cdn.control.sink import write_now
    from cdn.control.supervisor import CannotStartError, Supervisor
    from cdn.proxy.log_entry import AccessSink
    from cdn.proxy.shared import Shared
    from cdn.proxy.worker import Worker

    log = NodeLog(write_now)
    take_over_logging(log)

    def make_worker(
        config: Config, shared: Shared, access_log: AccessSink | None, report: Callable[[str, str], None]
    ) -> Worker:
        return Worker(config, access_log=access_log, report=report, shared=shared)

    try:
        return Supervisor(config, make_worker, log, read_config=read_config, drain=drain).run(started)
    except CannotStartError as error:
        raise Refused(*error.sentences) from error
    except (OSError, MemoryError) as error:
        raise Refused(f"cannot run: {error}", code=FAILED) from error
