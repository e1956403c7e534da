"""`cdn demo`: a real origin, the proxy and the dashboard on localhost, with requests to try."""

from __future__ import annotations

import argparse
import selectors
import shutil
import socket
import subprocess
import sys
from importlib import resources

from cdn.cli.demo_pages import entity_tag
from cdn.cli.errors import FAILED, Refused
from cdn.cli.serve import serve
from cdn.config.loading import parse

SUMMARY = "see it work: an origin, the proxy and the dashboard on localhost"
DESCRIPTION = """\
Starts a small web site in a process of its own, the proxy before it, and the dashboard; prints requests to
try. The log of each request appears on stdout, its outcome (hit, miss, …) near the end of the line. Ctrl-C
ends everything."""
EXAMPLES = """\
examples:
  cdn demo
  cdn demo --port 8000            another port; one that is taken is replaced by a free one, and said
"""

CONFIG = """\
node: {{name: demo}}
workers: 1
listen: [http://127.0.0.1:{port}]
admin: {{listen: http://127.0.0.1:{admin}}}
store: {{memory: 256 MiB}}
limits: {{connections: 1000}}
log: {{access: {{to: stdout, format: combined}}}}
origins:
  site: {{servers: [http://127.0.0.1:{origin}]}}
routes:
  - match: {{path: /*}}
    origin: site
    cache: {{key: {{query: {{ignore: [_]}}}}}}
"""

TRIES = (
    ("a miss, then a hit with Age", "curl -si {site}/pages/1"),
    ("2 s, then none", "curl -s -o /dev/null -w '%{{time_total}} s\\n' {site}/slow"),
    ("no-store: always from the origin", "curl -si {site}/api/time"),
    ("20 MB: stored on the way through", "curl -s -o /dev/null -D - {site}/large"),
    ("a range of it, from the store", "curl -s -o /dev/null -D - -r 0-99 {site}/large"),
    ("private, Set-Cookie: never stored", "curl -si {site}/private"),
    ("stale after 2 s: served, refreshed behind", "curl -si {site}/swr"),
    ("304: the client has it already", "curl -si -H 'If-None-Match: {etag}' {site}/styles.css"),
    ("why", "{cdn} explain {site}/pages/1 --admin {admin}"),
    ("forget it", "{cdn} purge --url {site}/pages/1 --admin {admin}"),
)


def invitation(site: str, admin: str) -> str:
    """What the demo prints when it is up."""
    etag = entity_tag(resources.files("cdn.cli").joinpath("demo.css").read_bytes())
    cdn = "cdn" if shutil.which("cdn") else f"{sys.executable} -m cdn"
    tries = [(text, line.format(site=site, admin=admin, etag=etag, cdn=cdn)) for text, line in TRIES]
    shown = "\n".join(f"  # {text}\n  {line}" for text, line in tries)
    return (
        f"\n  the page       {site}/\n  the dashboard  {admin}/\n\n"
        f"Try in another terminal, each twice:\n\n{shown}\n\nCtrl-C ends the demo.\n"
    )


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=port_number, default=8080, help="of the proxy (default: 8080)")
    parser.add_argument(
        "--admin-port", type=port_number, default=9090, help="of the dashboard (default: 9090)"
    )
    parser.add_argument("--origin-port", type=port_number, default=9000, help="of the origin (default: 9000)")


def port_number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port from 1 to 65535")
    return int(text)


def run(args: argparse.Namespace) -> int:
    taken: set[int] = {args.origin_port}
    port = choose(args.port, "proxy", taken)
    admin = choose(args.admin_port, "dashboard", taken)
    command = [sys.executable, "-m", "cdn.cli.demo_origin", "--port", str(args.origin_port)]
    origin = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        origin_port = its_port(origin)
        if origin_port != args.origin_port:
            print(f"port {args.origin_port} is taken: the origin is on {origin_port}")
        config = parse(CONFIG.format(port=port, admin=admin, origin=origin_port), "the demo")
        site, board = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{admin}"

        def started() -> None:
            print(invitation(site, board), flush=True)

        return serve(config, drain=3.0, read_config=None, started=started)
    finally:
        assert origin.stdin is not None
        origin.stdin.close()
        try:
            origin.wait(3)
        except subprocess.TimeoutExpired:
            origin.kill()
            origin.wait()


def choose(wanted: int, whose: str, taken: set[int]) -> int:
    """`wanted`, or a free port when somebody has it."""
    for candidate in (wanted, 0, 0, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", candidate))
                probe.listen(1)
            except OSError:
                continue
            port: int = probe.getsockname()[1]
        if port not in taken:
            taken.add(port)
            if port != wanted:
                print(f"port {wanted} is taken: the {whose} is on {port}")
            return port
    raise Refused(f"no free port for the {whose} on 127.0.0.1: name one with --port or --admin-port")


def its_port(origin: subprocess.Popen[bytes], patience: float = 15.0) -> int:
    """The port that the origin says it has."""
    assert origin.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(origin.stdout, selectors.EVENT_READ)
        line = origin.stdout.readline() if selector.select(patience) else b""
    if not line.strip().isdigit():
        raise Refused(
            "the demo's origin did not start; run python -m cdn.cli.demo_origin to see why", code=FAILED
        )
    return int(line)
