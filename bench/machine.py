"""What the run was made on: processor, memory, kernel, versions, revision of this tree."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from importlib.metadata import version
from pathlib import Path

from bench.peers import PEERS, ROOT, first_line, open_files, version_of


def describe() -> dict[str, str]:
    """Facts in the order in which they are printed."""
    facts = {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "revision": _revision(),
        "processor": f"{_after('/proc/cpuinfo', 'model name')}, {os.cpu_count()} cores",
        "memory": f"{int(_after('/proc/meminfo', 'MemTotal').split()[0]) / 2**20:.1f} GiB",
        "kernel": platform.release(),
        "TCP": f"congestion control {_word('/proc/sys/net/ipv4/tcp_congestion_control')}, the same for all",
        "open files": f"{open_files():,} a process",
        "system": _after("/etc/os-release", "PRETTY_NAME", "=").strip('"'),
        "Python": f"{platform.python_version()}, uvloop {version('uvloop')}, Cython {version('cython')}",
    }
    facts.update({peer.title: version_of(peer) for peer in PEERS if peer.version})
    facts["wrk"] = first_line(["wrk", "-v"]).split(" Copyright")[0]
    return facts


def _revision() -> str:
    try:
        command = ["git", "describe", "--always", "--dirty"]
        git = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    except FileNotFoundError:
        return "unknown, without git"
    return git.stdout.strip() or "not a checkout"


def _word(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return "unknown"


def _after(path: str, key: str, separator: str = ":") -> str:
    """The value of the first line `key separator value`, or `unknown`."""
    for line in Path(path).read_text().splitlines():
        name, found, value = line.partition(separator)
        if found and name.strip() == key:
            return value.strip()
    return "unknown"
