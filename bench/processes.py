"""Starts, pins, measures and ends the processes of a run.

Everything that is started here ends with the harness, however that ends: a guard process holds a pipe to it,
and when the pipe closes it kills the groups and removes the folders that it was told of. It must not know
what runs.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
START_SECONDS = 30.0
END_SECONDS = 5.0


class StartError(RuntimeError):
    """A program did not start; the message is one line with the end of what it wrote."""


class Guard:
    """Knows the process groups and folders that must not outlive this process."""

    def __init__(self) -> None:
        self._guard = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("guard.py"))],
            stdin=subprocess.PIPE,
            start_new_session=True,
            text=True,
        )

    def tell(self, line: str) -> None:
        assert self._guard.stdin is not None
        self._guard.stdin.write(line + "\n")
        self._guard.stdin.flush()

    def close(self) -> None:
        assert self._guard.stdin is not None
        self._guard.stdin.close()
        self._guard.wait(END_SECONDS + 5)


def free_port() -> int:
    """A TCP port on loopback that nobody listens on now."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
        return port


def scratch_folder(guard: Guard) -> Path:
    """A new folder on tmpfs (else where temporary files go), removed with the harness."""
    parent = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="cdn-bench-", dir=parent))
    guard.tell(f"folder {folder}")
    return folder


class Server:
    """One running program with its children, pinned to a core as a rule."""

    def __init__(
        self,
        guard: Guard,
        command: Sequence[str],
        *,
        core: int | None,
        port: int,
        log: Path,
        cwd: Path,
        also: Sequence[int] = (),
    ) -> None:
        """`core` None: all of them. Returns when `port` and those in `also` accept; StartError when one does not
        within START_SECONDS."""
        self.port = port
        self._log = log
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                [*(("taskset", "-c", str(core)) if core is not None else ()), *command],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                cwd=cwd,
            )
        self._guard = guard
        guard.tell(f"group {self._process.pid}")
        try:
            for one in (port, *also):
                self._wait_for(one)
        except BaseException:
            self.stop()
            raise

    def _wait_for(self, port: int) -> None:
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            if self._process.poll() is not None:
                raise StartError(f"ended at once: {self._last_words()}")
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
                return
            time.sleep(0.05)
        raise StartError(f"did not listen within {START_SECONDS:.0f} s: {self._last_words()}")

    def _last_words(self) -> str:
        lines = self._log.read_text("utf-8", "replace").strip().splitlines()
        return lines[-1][:300] if lines else "it wrote nothing"

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def cpu_seconds(self) -> float:
        """CPU time of the program and its living children so far; resolution 10 ms."""
        return sum(cpu_seconds(pid) for pid in family(self._process.pid))

    def stop(self) -> None:
        pids = family(self._process.pid)
        group = self._process.pid
        for number, patience in ((signal.SIGTERM, END_SECONDS), (signal.SIGKILL, END_SECONDS)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(patience)
                break
        for pid in pids:  # a child that left the group
            with contextlib.suppress(ProcessLookupError):
                if pid != group:
                    os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(BrokenPipeError):
            self._guard.tell(f"gone {group}")


def family(root: int) -> list[int]:
    """The process and its descendants."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                stat = Path(f"/proc/{entry}/stat").read_text()
                children.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(entry))
    return list(_below(root, children))


def _below(root: int, children: dict[int, list[int]]) -> Iterator[int]:
    yield root
    for child in children.get(root, ()):
        yield from _below(child, children)


def cpu_seconds(pid: int) -> float:
    """User and system time of one process; 0 when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS


def machine_busy_seconds() -> float:
    """CPU time that all cores have spent on anything so far, interrupts and stolen time included."""
    with open("/proc/stat") as f:
        user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, f.readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / TICKS
