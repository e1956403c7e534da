"""What the kernel says about processes of the node: memory, processor time, open files. Knows no counters of ours."""

from __future__ import annotations

import os
import resource

from cdn.control.log import NodeLog

_PAGE = resource.getpagesize()
_TICK = os.sysconf("SC_CLK_TCK")


def process_figures(pid: int | str = "self") -> dict[str, int]:
    """Resident bytes that this process shares with no other (the store is one mapping for all), and processor
    milliseconds so far; zeros for a process that is gone.
    """
    try:
        with open(f"/proc/{pid}/statm", "rb") as statm:
            _size, resident, shared = (int(figure) for figure in statm.read().split()[:3])
        with open(f"/proc/{pid}/stat", "rb") as stat:
            after_name = stat.read().rpartition(b")")[2].split()
    except (OSError, ValueError):
        return {"rss": 0, "cpu_ms": 0}
    ticks = int(after_name[11]) + int(after_name[12])
    return {"rss": (resident - shared) * _PAGE, "cpu_ms": ticks * 1000 // _TICK}


def raise_file_limit(wanted: int, log: NodeLog) -> None:
    """Open files up to what the system allows this process; says so when that is less than the connections
    need.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (OSError, ValueError):
            pass
    if soft != resource.RLIM_INFINITY and soft < wanted:
        log.say(
            f"open files are limited to {soft}, fewer than limits.connections needs; "
            f"raise them (ulimit -n) to {wanted}"
        )
