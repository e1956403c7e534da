"""What some tests need of the machine: real programs, cores, open files. Where it is missing the test is skipped
and says so; with CI=true it fails.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import resource
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

_PACKAGES = {
    "nginx": "nginx-light",
    "h2load": "nghttp2-client",
    "systemd-analyze": "systemd",
}


def need(program: str) -> str:
    """The path of `program`; skips (in CI: fails) the test without it."""
    path = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if path is None:
        _missing(f"{program} is not installed: apt-get install {_PACKAGES.get(program, program)}")
    return path


def need_folder(folder: str, package: str) -> Path:
    """`folder` as brought by the Debian `package`; skips (in CI: fails) the test without it."""
    if not Path(folder).is_dir():
        _missing(f"{folder} is not there: apt-get install {package}")
    return Path(folder)


def _missing(sentence: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(sentence)
    pytest.skip(sentence)


def need_module(name: str, package: str) -> Any:
    """The Python module `name`; skips (in CI: fails) the test without it."""
    try:
        return importlib.import_module(name)
    except ImportError:
        _missing(f"{name} is not installed: pip install '{package}'")


def need_cores(count: int) -> list[int]:
    """The cores that this process may use, `count` at least; skips (in CI: fails) the test with fewer."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < count:
        _missing(f"{count} cores are needed, {len(cores)} may be used")
    return cores


@contextlib.contextmanager
def open_files(wanted: int) -> Iterator[None]:
    """May this process have so many open files; skips (in CI: fails) the test where it may not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        _missing(f"open files are limited to {hard}, {wanted} are needed: raise the hard limit (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def has_ipv6() -> bool:
    """Whether the loopback interface has an IPv6 address: a matter of the machine, which nothing here can install."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False
