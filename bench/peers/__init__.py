"""Who is measured: the command line and the configuration of every server, one thread or worker each.

The configurations are the files beside this one; `@NAME@` in them is filled in here. Decides nothing about
requests.
"""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.processes import Guard, Server, StartError, free_port
from bench.rows import SITE

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
LARGEST_OBJECT = 12 << 20  # that HAProxy may store
SPARE_FILES = 4096  # of nginx, for what is not its cache


@dataclass(frozen=True, slots=True)
class Peer:
    """A server by name, and the words that print its version: the first is a program of its own, if it is a peer."""

    id: str
    title: str
    version: tuple[str, ...] | None

    @property
    def program(self) -> str | None:
        """What has to be installed for it."""
        return self.version[0] if self.version and self.id != OURS else None


OURS = "cdn"
LIMIT = "limit"
PEERS: tuple[Peer, ...] = (
    Peer("limit", "limit", None),
    Peer("nginx", "nginx", ("nginx", "-v")),
    Peer("haproxy", "HAProxy", ("haproxy", "-v")),
    Peer("varnish", "Varnish", ("varnishd", "-V")),
    Peer("trafficserver", "Traffic Server", ("traffic_server", "-V")),
    Peer("cdn", "cdn", (sys.executable, "-m", "cdn", "--version")),
)


@dataclass(frozen=True, slots=True)
class Place:
    """What a server is started with. `folder` is its own, on tmpfs."""

    folder: Path
    origin_port: int
    store_mib: int
    core: int
    programs: Path  # the folder of the compiled C programs and of the certificate
    workers: int = 1  # of this proxy; several have all cores
    stocked: bool = False  # this proxy takes orders to stock its store


@dataclass(slots=True)
class Running:
    """A started peer; `tls_port` is 0 where it speaks no TLS."""

    peer: Peer
    server: Server
    port: int
    tls_port: int
    access_log: Path | None = None

    def between_runs(self) -> None:
        """Keeps the access log from filling the tmpfs."""
        if self.access_log is not None and self.access_log.exists():
            with self.access_log.open("r+b") as f:
                f.truncate(0)


def start(peer: Peer, place: Place, guard: Guard) -> Running:
    """Starts it; StartError when it is not installed or does not come up."""
    if peer.program and shutil.which(peer.program) is None:
        raise StartError("is not installed")
    place.folder.mkdir()
    port, tls_port, admin_port = free_port(), free_port(), free_port()
    pem = place.programs / "bench.pem"
    values: dict[str, Path | int] = {
        "DIR": place.folder,
        "PORT": port,
        "TLS_PORT": tls_port,
        "ADMIN_PORT": admin_port,
        "ORIGIN": place.origin_port,
        "WORKERS": place.workers,
        "MIB": place.store_mib,
        "OBJECT": LARGEST_OBJECT,
        "FILES": open_files(),
        "CONNECTIONS": open_files(),
        "OPEN": max(256, open_files() - SPARE_FILES),
        "CERTIFICATE": place.programs / "bench.crt",
        "KEY": place.programs / "bench.key",
        "PEM": pem,
        "PROGRAMS": place.programs,
    }
    if peer.id == "limit":
        command, tls_port = [str(place.programs / "limit"), str(port)], 0
    elif peer.id == "nginx":
        command = ["nginx", "-p", str(place.folder), "-c", _fill("nginx.conf", place, values)]
    elif peer.id == "haproxy":
        command = ["haproxy", "-db", "-q", "-f", _fill("haproxy.cfg", place, values)]
    elif peer.id == "varnish":
        command, tls_port = _varnish(place, port, _fill("varnish.vcl", place, values)), 0
    elif peer.id == "trafficserver":
        command = _traffic_server(place, values)
    else:
        program = ("bench.stocked",) if place.stocked else ("cdn", "serve")
        command = [sys.executable, "-m", *program, _fill("cdn.yaml", place, values)]
    server = Server(
        guard,
        command,
        core=place.core if place.workers == 1 else None,
        port=port,
        log=place.folder.with_suffix(".log"),
        cwd=ROOT,
        also=(tls_port,) if tls_port else (),
    )
    return Running(peer, server, port, tls_port, place.folder / "access.log" if peer.id == OURS else None)


def open_files() -> int:
    """How many files a server may have open; nginx keeps the files of its cache open as far as that goes."""
    return min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 300_000)


def _varnish(place: Place, port: int, vcl: str) -> list[str]:
    command = ["varnishd", "-F", "-j", "none", "-n", str(place.folder / "work"), "-f", vcl]
    command += ["-a", f"127.0.0.1:{port}", "-s", f"malloc,{place.store_mib}M"]
    return [*command, "-p", "thread_pools=1", "-p", "timeout_idle=3600", "-p", "listen_depth=4096"]


def _traffic_server(place: Place, values: dict[str, Path | int]) -> list[str]:
    (place.folder / "cache").mkdir()
    own = place.folder / "trafficserver"
    own.mkdir()
    for file in sorted((HERE / "trafficserver").iterdir()):
        _fill(f"trafficserver/{file.name}", place, values)
    return ["traffic_server", f"--run-root={own / 'runroot.yaml'}"]


def _fill(name: str, place: Place, values: dict[str, Path | int]) -> str:
    text = (HERE / name).read_text()
    for key, value in values.items():
        text = text.replace(f"@{key}@", str(value))
    path = place.folder / name
    path.write_text(text)
    return str(path)


def start_origin(programs: Path, folder: Path, core: int, guard: Guard) -> Server:
    port = free_port()
    command = [str(programs / "origin"), str(port)]
    return Server(guard, command, core=core, port=port, log=folder / "origin.log", cwd=ROOT)


def make_programs(into: Path) -> None:
    """Compiles the C programs and makes a certificate (ECDSA P-256); RuntimeError when a tool fails."""
    for name in ("limit", "origin", "steady"):
        _run("cc", "-O2", "-Wall", "-o", str(into / name), str(HERE.parent / f"{name}.c"))
    key, crt = into / "bench.key", into / "bench.crt"
    _run(
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
        *("-days", "30", "-subj", f"/CN={SITE}", "-addext", f"subjectAltName=DNS:{SITE},IP:127.0.0.1"),
        *("-keyout", str(key), "-out", str(crt)),
    )
    (into / "bench.pem").write_bytes(crt.read_bytes() + key.read_bytes())


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {done.stderr.strip().splitlines()[-1:]}")


def version_of(peer: Peer) -> str:
    """The first line that the program prints about itself."""
    return first_line(peer.version) if peer.version else "bench/limit.c"


def first_line(command: Sequence[str]) -> str:
    """What a program prints first, wherever to; `not installed` where it is not there."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    except FileNotFoundError:
        return "not installed"
    return next(iter((done.stdout or done.stderr).strip().splitlines()), "says nothing")
